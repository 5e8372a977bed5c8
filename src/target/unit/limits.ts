/** The limits of a target's logical unit. Each is here with its reason. Reaching one is tested. */

import { REGISTRATIONS_MAX } from '../../store/limits.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** The longest READ or WRITE, and with it the largest data buffer. ib_iser asks for 512 KiB, at most 16 MiB. */
export const UNIT_TRANSFER_BYTES_MAX = 4 * MIB;
/** What the disk does best (VPD page B0): large enough to make the cost per command vanish. */
export const TRANSFER_BYTES_OPTIMAL = 1 * MIB;
/** One WRITE SAME, so that none outlasts the 30 s that Linux gives a command even where zeroes must be written. */
export const WRITE_SAME_BYTES_MAX = 256 * MIB;
/** All ranges of one UNMAP: freeing is cheap in memory and one process per range in a file. */
export const UNMAP_BYTES_MAX = 4 * GIB;
/** Ranges in one UNMAP: the parameter list stays about a page. */
export const UNMAP_DESCRIPTORS_MAX = 256;
/** COMPARE AND WRITE compares in the scratch buffer, in one piece to be atomic. Clusters use 1 block. */
export const COMPARE_AND_WRITE_BLOCKS_MAX = 64;
/** Per disk, taken on first use: 64 blocks of 4096 bytes. */
export const SCRATCH_BYTES = 256 * KIB;
/** Parameter data (INQUIRY, GET LBA STATUS, ...) is never longer; an allocation length may ask for gigabytes. */
export const PARAMETER_DATA_BYTES_MAX = 4096;
/** READ FULL STATUS of all of them: 24 bytes each, and a TransportID with the longest name of RFC 7143. */
export const RESERVATION_DATA_BYTES_MAX = 8 + REGISTRATIONS_MAX * (24 + 248);
/** PERSISTENT RESERVE OUT with SPEC_I_PT: some thirty ports with the longest names. */
export const RESERVE_OUT_BYTES_MAX = 8192;
/** MODE SELECT of all pages that there are is below 64 bytes. */
export const MODE_SELECT_BYTES_MAX = 512;
/** Logical units of one target: REPORT LUNS of all of them stays within the parameter data's limit. */
export const LUNS_MAX = 256;
