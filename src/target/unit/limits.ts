/** The limits of a target's logical unit, each with its reason. A test reaches each limit. */

import { REGISTRATIONS_MAX } from '../../store/limits.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** The longest READ or WRITE, and the largest data buffer. ib_iser uses 512 KiB, at most 16 MiB. */
export const UNIT_TRANSFER_BYTES_MAX = 4 * MIB;
/** The optimal transfer length (VPD page B0): long enough that the cost per command does not matter. */
export const TRANSFER_BYTES_OPTIMAL = 1 * MIB;
/** The longest WRITE SAME. Even with written zeroes it ends within the 30 s that Linux gives a command. */
export const WRITE_SAME_BYTES_MAX = 256 * MIB;
/** All ranges of one UNMAP. Freeing is cheap in memory, and takes one process per range in a file. */
export const UNMAP_BYTES_MAX = 4 * GIB;
/** Ranges in one UNMAP. The parameter list then has about one page. */
export const UNMAP_DESCRIPTORS_MAX = 256;
/**
 * The longest COMPARE AND WRITE. To be atomic, it compares in one piece, in the scratch buffer. Clusters use 1 block.
 */
export const COMPARE_AND_WRITE_BLOCKS_MAX = 64;
/** The scratch buffer of a disk, taken on first use: 64 blocks of 4096 bytes. */
export const SCRATCH_BYTES = 256 * KIB;
/** The longest parameter data (INQUIRY, GET LBA STATUS and others). An allocation length may be gigabytes. */
export const PARAMETER_DATA_BYTES_MAX = 4096;
/** READ FULL STATUS of all registrations: 24 bytes each, and a TransportID with the longest name of RFC 7143. */
export const RESERVATION_DATA_BYTES_MAX = 8 + REGISTRATIONS_MAX * (24 + 248);
/** PERSISTENT RESERVE OUT with SPEC_I_PT: about thirty ports with the longest names. */
export const RESERVE_OUT_BYTES_MAX = 8192;
/** A MODE SELECT list. All our pages together have less than 64 bytes. */
export const MODE_SELECT_BYTES_MAX = 512;
/** Logical units of one target. REPORT LUNS of all units fits into the limit of parameter data. */
export const LUNS_MAX = 256;
