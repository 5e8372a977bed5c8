/** The limits of stores, each with its reason. A test reaches each limit. */

const KIB = 1024;
const TIB = 1024 * 1024 * 1024 * KIB;

/** The tables of a memory store grow with its size. A larger LUN is a typing error. */
export const MEMORY_STORE_BYTES_MAX = 16 * TIB;
/** Block offsets and file positions are Numbers, which are exact below 2^53. */
export const FILE_STORE_BYTES_MAX = Number.MAX_SAFE_INTEGER;
/** The unit of allocation: the usual block of a file system. Punching less frees no storage. */
export const ALLOCATION_PAGE_BYTES_MIN = 4 * KIB;
/** At most 2 MiB of bits per store. Larger stores have larger pages. */
export const ALLOCATION_PAGES_MAX = 1 << 24;
/**
 * The shortest range to punch. Punching needs a process (a few ms). Zeroes take 10 µs per 4 KiB, so shorter ranges
 * are written with zeroes.
 */
export const PUNCH_BYTES_MIN = 32 * KIB;
/** Concurrent punch processes: enough to overlap, and few enough for a machine with two cores. */
export const PUNCH_PROCESSES_MAX = 2;
/** The time for the hole search when a file is opened. A million runs of data take one second. */
export const HOLE_SEARCH_MS = 10_000;
/**
 * A memory store's chunk. A large I/O needs few chunks, and the copy of one chunk is fast when a write overlaps a
 * read. Stores with large pages have longer chunks.
 */
export const CHUNK_BYTES = 256 * KIB;
/** Pieces of a read without a copy: a megabyte in 256 KiB chunks, at any start. */
export const PINNED_PIECES_MAX = 5;
/**
 * Chunks of one store that reads may pin at the same time, 64 MiB. This limits the copies that writers make of pinned
 * chunks, even with slow readers. Further reads use buffers.
 */
export const PINNED_CHUNKS_MAX = 256;
/** Chunks that a memory store lends to one write: a megabyte. */
export const LENT_PIECES_MAX = 4;
/** Chunks that a memory store lends at the same time, 8 MiB. Further writes use buffers. */
export const LENT_CHUNKS_MAX = 32;
/** Unused chunks that a memory store keeps for the next loan. */
export const SPARE_CHUNKS_MAX = 16;
/** The zero buffer that all file stores share. Longer zeroes are written in pieces. */
export const STORE_ZERO_BUFFER_BYTES = 256 * KIB;
/** Registrations of one logical unit: one per session, and the same number for absent initiators. */
export const REGISTRATIONS_MAX = 2 * 128;
/** The longest file of reservations. A file with all registrations has less than 100 KiB. */
export const RESERVATION_FILE_BYTES_MAX = 1 << 20;

/** Attempts to take a lock, half a second in total. A tool of a killed process may hold the lock for a short time. */
export const LOCK_TRIES_MAX = 6;
export const LOCK_PAUSE_MS = 100;
/** The time for one attempt. The system answers at once, but a dead file server must not block the start for ever. */
export const LOCK_TIMEOUT_MS = 10_000;
