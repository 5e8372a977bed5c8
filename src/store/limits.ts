/** The limits of stores. Each is here with its reason. Reaching one is tested. */

const KIB = 1024;
const TIB = 1024 * 1024 * 1024 * KIB;

/** A memory store's tables grow with its size; a lab LUN that claims more than this is a typing error. */
export const MEMORY_STORE_BYTES_MAX = 16 * TIB;
/** Block offsets and file positions are Numbers, exact below 2^53. */
export const FILE_STORE_BYTES_MAX = Number.MAX_SAFE_INTEGER;
/** The unit of allocation: a file system's usual block, below which punching frees nothing. */
export const ALLOCATION_PAGE_BYTES_MIN = 4 * KIB;
/** 2 MiB of bits per store at most: larger stores get larger pages. */
export const ALLOCATION_PAGES_MAX = 1 << 24;
/** Punching a file costs a process (a few ms), writing zeroes 10 µs per 4 KiB: below this, zeroes are written. */
export const PUNCH_BYTES_MIN = 32 * KIB;
/** Hole-punching processes at once: enough to overlap, too few to starve the two-core machine they run on. */
export const PUNCH_PROCESSES_MAX = 2;
/** Looking for a file's holes at its start: a second for a million runs of data; more is not worth the wait. */
export const HOLE_SEARCH_MS = 10_000;
/**
 * A memory store's chunk: few hold a large I/O, and one is copied at once when a write finds it being read. Stores with
 * large pages have longer ones, and copy.
 */
export const CHUNK_BYTES = 256 * KIB;
/** Pieces of a read that leaves from where its data lies: a megabyte of 256 KiB chunks, wherever it begins. */
export const PINNED_PIECES_MAX = 5;
/**
 * Chunks of one store that reads may pin at once, 64 MiB: the copies that writers make of them never take more, however
 * slowly the readers take their data. Further reads go through buffers.
 */
export const PINNED_CHUNKS_MAX = 256;
/** Chunks that a memory store lends to one write: a megabyte. */
export const LENT_PIECES_MAX = 4;
/** Chunks that a memory store lends at once, 8 MiB; further writes go through buffers. */
export const LENT_CHUNKS_MAX = 32;
/** Chunks that a memory store keeps to lend them again. */
export const SPARE_CHUNKS_MAX = 16;
/** Zeroes are written in pieces of this, from one buffer that all file stores share. */
export const STORE_ZERO_BUFFER_BYTES = 256 * KIB;
/** Registrations of one logical unit: each session's, and as many of initiators that are not there. */
export const REGISTRATIONS_MAX = 2 * 128;
/** What a file of reservations may have; one with all registrations has below 100 KiB. */
export const RESERVATION_FILE_BYTES_MAX = 1 << 20;

/** A lock that is taken is tried for again, for what a killed process left behind to end: half a second in all. */
export const LOCK_TRIES_MAX = 6;
export const LOCK_PAUSE_MS = 100;
/** A lock is had or refused at once; a file server that is gone must not hold up the start for ever. */
export const LOCK_TIMEOUT_MS = 10_000;
