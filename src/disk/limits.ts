/**
 * Outstanding commands of one disk. No target has a deeper queue (LIO: at most 512), and each command has memory of
 * its own.
 */
export const DISK_COMMANDS_MAX = 512;

/**
 * Disks that one process has open at once. Each has a session of its own, whose receives take 4.5 MiB: memory is used
 * up before this is. It bounds the memory that disks keep while they are open, 12 KiB each.
 */
export const DISKS_MAX = 1024;

/**
 * A device may queue several unit attentions (SAM-5 5.14): power on, mode parameters, capacity, LUN inventory and
 * others.
 */
export const UNIT_ATTENTION_RETRIES_MAX = 16;

/** ABORTED COMMAND is often transient. More retries do not help against a persistent one (Linux: 5). */
export const ABORTED_RETRIES_MAX = 5;

/** The first and the longest wait after BUSY, TASK SET FULL and "becoming ready". Each wait is twice the last one. */
export const BUSY_DELAY_MIN_MS = 10;
export const BUSY_DELAY_MAX_MS = 1_000;
/** The total wait for a busy device. Clients give up after about the same time. */
export const BUSY_TOTAL_MS = 30_000;

/** Retries of a command that timed out and certainly no longer executes (Linux: 5). */
export const TIMEOUT_RETRIES_MAX = 5;

/** How often a watch inspects a disk without a cause. Some targets exchange the disk without a unit attention (LIO). */
export const LOOK_PERIOD_MS = 30_000;
/** The shortest time between two inspections that clients cause by attaching or by requests. */
export const LOOK_SPACING_MS = 1_000;
/** How often a watch inspects an unusable disk until the disk is usable. */
export const REGAIN_PERIOD_MS = 2_000;
/** Inspections without a pause when unit attentions arrive during them. A device queues only a few attentions. */
export const LOOKS_IN_A_ROW_MAX = 5;

/** The device may have to write gigabytes of cache to a slow medium (Linux: SD_FLUSH_TIMEOUT). */
export const FLUSH_TIMEOUT_MS = 60_000;
/** The device writes every block itself, which may be slow (Linux: SD_WRITE_SAME_TIMEOUT). */
export const WRITE_SAME_TIMEOUT_MS = 120_000;

/** The longest WRITE SAME. The device may really write every block: at 100 MB/s this takes 3 s. */
export const WRITE_ZEROES_BYTES_MAX = 256 * 1024 * 1024;
/** Blocks of one WRITE SAME(16) when the device reports no limit (Linux: SD_MAX_WS10_BLOCKS). */
export const WRITE_SAME_BLOCKS_UNREPORTED = 0xffff;
/** The zero buffer for devices without WRITE SAME. */
export const DISK_ZERO_BUFFER_BYTES = 256 * 1024;
/** The highest length of READ(10) and WRITE(10), and the first block beyond their address field. */
export const BLOCKS_10_MAX = 0xffff;
export const LBA_10_END = 0x1_0000_0000;
/**
 * The longest trim. UNMAP is fast, but not for every size: punching holes blocks the journal of the target's file
 * system.
 */
export const TRIM_BYTES_MAX = 4 * 1024 * 1024 * 1024;
/** Blocks of one UNMAP when the device supports UNMAP but reports no limit (Linux: SD_MAX_WS16_BLOCKS). */
export const UNMAP_BLOCKS_UNREPORTED = 0x7f_ffff;

/** Block sizes. No disk has blocks below 512 bytes. NBD cannot express a minimum block size above 64 KiB. */
export const BLOCK_BYTES_MIN = 512;
export const BLOCK_BYTES_MAX = 65_536;

/** How long a command off the data path waits for memory: the same as for a busy device. */
export const SLOT_WAIT_MS = 30_000;

/**
 * Buffer for answers to INQUIRY, MODE SENSE and similar commands. Most need at most 255 bytes; page 83 of a big array
 * needs more.
 */
export const PARAMETER_BYTES = 4_096;
/** SPC-2 devices have a one-byte allocation length in INQUIRY, so INQUIRY must ask for at most 255 bytes. */
export const INQUIRY_ALLOCATION_BYTES = 252;
/** 16,384 logical units: all LUNs of single-level addressing. */
export const REPORT_LUNS_BYTES_MAX = 8 + 8 * 16_384;

/** The most commands of one extent query, and the most extents in its answer. The caller asks again for the rest. */
export const EXTENT_COMMANDS_MAX = 16;
export const EXTENTS_MAX = 1_024;
