/** Commands that one disk has at its port. No target's queue is deeper (LIO: at most 512), and each has a slot of memory. */
export const DISK_COMMANDS_MAX = 512;

/** A device may queue several unit attentions (SAM-5 5.14): power on, mode parameters, capacity, LUN inventory... */
export const UNIT_ATTENTION_RETRIES_MAX = 16;

/** ABORTED COMMAND is often transient, a persistent one is not worth more than this (Linux: 5). */
export const ABORTED_RETRIES_MAX = 5;

/** BUSY, TASK SET FULL and "becoming ready": the first wait, doubled each time up to the last. */
export const BUSY_DELAY_MIN_MS = 10;
export const BUSY_DELAY_MAX_MS = 1_000;
/** And how long this goes on. Clients give up after about as much. */
export const BUSY_TOTAL_MS = 30_000;

/** A command that had no answer in time, and is certainly not executing any more, is sent again this often (Linux: 5). */
export const TIMEOUT_RETRIES_MAX = 5;

/** How often a disk is looked at of its own accord, for targets that put another one there without a word (LIO). */
export const LOOK_PERIOD_MS = 30_000;
/** Looks that clients cause, by attaching or by requests, are not closer together than this. */
export const LOOK_SPACING_MS = 1_000;
/** How often a disk is looked at that cannot be used, until it can. */
export const REGAIN_PERIOD_MS = 2_000;
/** Looks without a pause, when attentions come during them. A device has a few to tell at a time. */
export const LOOKS_IN_A_ROW_MAX = 5;

/** A cache of gigabytes may have to reach a slow medium (Linux: SD_FLUSH_TIMEOUT). */
export const FLUSH_TIMEOUT_MS = 60_000;
/** The device writes the blocks itself, and may be slow at it (Linux: SD_WRITE_SAME_TIMEOUT). */
export const WRITE_SAME_TIMEOUT_MS = 120_000;

/** A WRITE SAME may really write every block: at 100 MB/s this is 3 s. */
export const WRITE_ZEROES_BYTES_MAX = 256 * 1024 * 1024;
/** Blocks of a WRITE SAME(16) whose limit the device does not tell (Linux: SD_MAX_WS10_BLOCKS). */
export const WRITE_SAME_BLOCKS_UNREPORTED = 0xffff;
/** Where the device has no WRITE SAME, zeroes are written from one such buffer. */
export const DISK_ZERO_BUFFER_BYTES = 256 * 1024;
/** What the length field of READ(10) and WRITE(10) can say, and the first block that its address cannot. */
export const BLOCKS_10_MAX = 0xffff;
export const LBA_10_END = 0x1_0000_0000;
/** An UNMAP is quick, but not for any size: a file system's hole punching blocks its journal. */
export const TRIM_BYTES_MAX = 4 * 1024 * 1024 * 1024;
/** An UNMAP of a device that tells of the command but not its limit (Linux: SD_MAX_WS16_BLOCKS). */
export const UNMAP_BLOCKS_UNREPORTED = 0x7f_ffff;

/** Sector sizes: below 512 none exists, above 64 KiB NBD cannot tell its clients. */
export const BLOCK_BYTES_MIN = 512;
export const BLOCK_BYTES_MAX = 65_536;

/** How long a command off the data path waits for memory: as long as for a busy device. */
export const SLOT_WAIT_MS = 30_000;

/** Answers to INQUIRY, MODE SENSE and the like; 255 would do for most, page 83 of a big array has more. */
export const PARAMETER_BYTES = 4_096;
/** INQUIRY must ask for no more than 255 bytes of devices that know a one-byte length only (SPC-2). */
export const INQUIRY_ALLOCATION_BYTES = 252;
/** 16 383 logical units, which is all that single-level addressing has. */
export const REPORT_LUNS_BYTES_MAX = 8 + 8 * 16_384;

/** Commands that one query of extents may cost, and extents that it gathers; the caller asks again for the rest. */
export const EXTENT_COMMANDS_MAX = 16;
export const EXTENTS_MAX = 1_024;
