/** The target's limits. Each is here with its reason; reaching one is tested. */
import type { SizeClass } from '../common/slab.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

// Stores.

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
/** A lock that is taken is tried for again, for what a killed process left behind to end: half a second in all. */
export const LOCK_TRIES_MAX = 6;
export const LOCK_PAUSE_MS = 100;
/** A lock is had or refused at once; a file server that is gone must not hold up the start for ever. */
export const LOCK_TIMEOUT_MS = 10_000;
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
/** Chunks that one device registers: 64 GiB, and a quarter of its keys. Reads of others go through buffers. */
export const CHUNK_REGIONS_MAX = 1 << 18;
/** Zeroes are written in pieces of this, from one buffer that all file stores share. */
export const ZERO_BUFFER_BYTES = 256 * KIB;

// The disk.

/** The longest READ or WRITE, and with it the largest data buffer. ib_iser asks for 512 KiB, at most 16 MiB. */
export const TRANSFER_BYTES_MAX = 4 * MIB;
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
/** Registrations of one logical unit: each session's, and as many of initiators that are not there. */
export const REGISTRATIONS_MAX = 2 * 128;
/** READ FULL STATUS of all of them: 24 bytes each, and a TransportID with the longest name of RFC 7143. */
export const RESERVATION_DATA_BYTES_MAX = 8 + REGISTRATIONS_MAX * (24 + 248);
/** PERSISTENT RESERVE OUT with SPEC_I_PT: some thirty ports with the longest names. */
export const RESERVE_OUT_BYTES_MAX = 8192;
/** MODE SELECT of all pages that there are is below 64 bytes. */
export const MODE_SELECT_BYTES_MAX = 512;
/** What a file of reservations may have; one with all registrations has below 100 KiB. */
export const RESERVATION_FILE_BYTES_MAX = 1 << 20;
/** Logical units of one target: REPORT LUNS of all of them stays within the parameter data's limit. */
export const LUNS_MAX = 256;

// Login.

/** An initiator that has not logged in by then is disconnected; LIO's login thread gives 15 s too. */
export const LOGIN_TIMEOUT_MS = 15_000;
/**
 * Connections that are not logged in: each holds two login buffers (16 KiB) and its queues. When all places are taken,
 * the one that has been silent longest makes room for a new one.
 */
export const LOGINS_PENDING_MAX = 64;
/** Those of one address: no initiator logs in to more sessions at once. */
export const LOGINS_PENDING_PER_HOST_MAX = 32;
/** Discovery sessions, which live for one question. The longest silent one makes room for a new one. */
export const DISCOVERY_SESSIONS_MAX = 32;
export const DISCOVERY_SESSIONS_PER_HOST_MAX = 16;
/** Normal sessions of one portal: each has receives for its whole window (1.2 MiB), so 128 hold below 160 MiB. */
export const SESSIONS_MAX = 128;
/** Those of one address where nobody has to prove anything: a gateway with as many exports, and room for another. */
export const SESSIONS_PER_HOST_MAX = 64;
/** How long a new login waits for the I/O of the session that it replaces. */
export const REINSTATE_TIMEOUT_MS = 10_000;

/**
 * How long an initiator has to close the connection after its logout. Linux does it at once; closing from our side while
 * soft-iWARP there has not finished receiving makes it fail the queue pair.
 */
export const LOGOUT_CLOSE_MS = 2_000;

// Sessions.

/** Commands that a session may have outstanding (MaxCmdSN - ExpCmdSN + 1); LIO gives 64, ib_iser wants up to 512. */
export const COMMAND_WINDOW = 128;
/** Receives beyond the window, for immediate PDUs: pings, task management, logout (ib_iser keeps 6). */
export const RECEIVES_EXTRA = 16;
export const RECEIVES = COMMAND_WINDOW + RECEIVES_EXTRA;
/** Tasks: the window, and as many again whose response has left but is not yet reported as sent. */
export const TASKS = 2 * COMMAND_WINDOW;
/** Responses to other PDUs that may be on their way at once; a PDU that finds none waits in its receive. */
export const CONTROL_RESPONSES = 32;
/** Task management functions of one session that wait for tasks to end; Linux issues one at a time. */
export const TASK_MANAGEMENT_MAX = 16;
/** What a receive has room for behind the headers: immediate data and text requests, as LIO has it. */
export const RECEIVE_DATA_BYTES = 8192;
/**
 * The longest data segment that is ever sent in full feature phase. Linux initiators post 128 bytes whatever they
 * declare, and nobody may declare less than 512, so this is safe for all without asking what was declared.
 */
export const SEND_DATA_BYTES_MAX = 128;
/** One RDMA Read. LIO reads 1 MiB at a time, so initiators are used to it. */
export const READ_BYTES_MAX = 1 * MIB;
/** Reads of one task: the longest transfer. */
export const READS_PER_TASK = TRANSFER_BYTES_MAX / READ_BYTES_MAX;
/** RDMA Reads that we would like to have outstanding; the initiator's IRD and the device may allow fewer. */
export const READ_DEPTH = 16;
/** Buffer memory of one session, so that one that never answers an RDMA Read leaves most of it to the others. */
export const SESSION_BUFFER_BYTES_MAX = 16 * MIB;
/** Text of one request, over all the PDUs of its C bits. Real ones have below 300 bytes. */
export const TEXT_REQUEST_BYTES_MAX = 8192;
/** A session is asked for a sign of life after three silent ticks and given up after six. */
export const WATCHDOG_TICK_MS = 10_000;
export const WATCHDOG_PING_TICKS = 3;
export const WATCHDOG_GIVE_UP_TICKS = 6;
/** How long a closing portal waits for commands that run before it ends their connections. */
export const CLOSE_DRAIN_MS = 2_000;
/** An orderly disconnect waits this long for what was sent to leave; a peer that reads nothing gets no more. */
export const DISCONNECT_TIMEOUT_MS = 5_000;

/** Connections that may wait to be accepted. They are taken on at once, so a burst is all there is to hold. */
export const LISTEN_BACKLOG = 32;
/** All data buffers of a portal, 98 MiB when every class is used up: room for six sessions with their full share. */
export const BUFFER_CLASSES: readonly SizeClass[] = [
  { slotBytes: 4 * KIB, slotsMax: 1024, slotsPerSlab: 128 },
  { slotBytes: 32 * KIB, slotsMax: 320, slotsPerSlab: 32 },
  { slotBytes: 256 * KIB, slotsMax: 80, slotsPerSlab: 8 },
  { slotBytes: 1 * MIB, slotsMax: 32, slotsPerSlab: 2 },
  { slotBytes: TRANSFER_BYTES_MAX, slotsMax: 8, slotsPerSlab: 1 },
];
