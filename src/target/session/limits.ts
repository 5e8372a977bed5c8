/** The limits of a target's sessions. Each is here with its reason. Reaching one is tested. */
import type { SizeClass } from '../../common/slab.js';
import { UNIT_TRANSFER_BYTES_MAX } from '../unit/limits.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Chunks that one device registers: 64 GiB, and a quarter of its keys. Reads of others go through buffers. */
export const CHUNK_REGIONS_MAX = 1 << 18;

// Login.

/** An initiator that has not logged in by then is disconnected; LIO's login thread gives 15 s too. */
export const TARGET_LOGIN_TIMEOUT_MS = 15_000;
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
export const TARGET_LOGOUT_CLOSE_MS = 2_000;

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
export const TARGET_RECEIVE_DATA_BYTES = 8192;
/**
 * The longest data segment that is ever sent in full feature phase. Linux initiators post 128 bytes whatever they
 * declare, and nobody may declare less than 512, so this is safe for all without asking what was declared.
 */
export const TARGET_SEND_DATA_BYTES_MAX = 128;
/** One RDMA Read. LIO reads 1 MiB at a time, so initiators are used to it. */
export const READ_BYTES_MAX = 1 * MIB;
/** Reads of one task: the longest transfer. */
export const READS_PER_TASK = UNIT_TRANSFER_BYTES_MAX / READ_BYTES_MAX;
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
export const TARGET_DISCONNECT_TIMEOUT_MS = 5_000;

/** Connections that may wait to be accepted. They are taken on at once, so a burst is all there is to hold. */
export const LISTEN_BACKLOG = 32;
/** All data buffers of a portal, 98 MiB when every class is used up: room for six sessions with their full share. */
export const BUFFER_CLASSES: readonly SizeClass[] = [
  { slotBytes: 4 * KIB, slotsMax: 1024, slotsPerSlab: 128 },
  { slotBytes: 32 * KIB, slotsMax: 320, slotsPerSlab: 32 },
  { slotBytes: 256 * KIB, slotsMax: 80, slotsPerSlab: 8 },
  { slotBytes: 1 * MIB, slotsMax: 32, slotsPerSlab: 2 },
  { slotBytes: UNIT_TRANSFER_BYTES_MAX, slotsMax: 8, slotsPerSlab: 1 },
];
