/** The limits of a target's sessions, each with its reason. A test reaches each limit. */
import type { SizeClass } from '../../common/slab.js';
import { UNIT_TRANSFER_BYTES_MAX } from '../unit/limits.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Chunks that one device registers: 64 GiB, and a quarter of its keys. Reads of other chunks use buffers. */
export const CHUNK_REGIONS_MAX = 1 << 18;

// Login.

/** The time for a login. Then the initiator is disconnected. LIO's login thread gives 15 s, too. */
export const TARGET_LOGIN_TIMEOUT_MS = 15_000;
/**
 * Connections that are not logged in. Each has two login buffers (16 KiB) and its queues. At this limit a new
 * connection displaces the one that has been silent longest.
 */
export const LOGINS_PENDING_MAX = 64;
/** The same limit per address. No initiator logs in to more sessions at the same time. */
export const LOGINS_PENDING_PER_HOST_MAX = 32;
/** Discovery sessions, which are short. At this limit a new session displaces the one that has been silent longest. */
export const DISCOVERY_SESSIONS_MAX = 32;
export const DISCOVERY_SESSIONS_PER_HOST_MAX = 16;
/**
 * Normal sessions of one portal. Each has receives for its whole window (1.2 MiB), so 128 sessions use less than 160
 * MiB.
 */
export const SESSIONS_MAX = 128;
/** The same limit per address without CHAP: enough for a gateway with 64 exports, and half of all places. */
export const SESSIONS_PER_HOST_MAX = 64;
/** How long a new login waits for the I/O of the session that it replaces. */
export const REINSTATE_TIMEOUT_MS = 10_000;

/**
 * How long an initiator has to close the connection after its logout. Linux closes at once. If we close before
 * soft-iWARP there has received everything, it fails the queue pair.
 */
export const TARGET_LOGOUT_CLOSE_MS = 2_000;

// Sessions.

/** Outstanding commands of a session (MaxCmdSN - ExpCmdSN + 1). LIO grants 64, ib_iser wants up to 512. */
export const COMMAND_WINDOW = 128;
/** Receives in addition to the window, for immediate PDUs: pings, task management, logout (ib_iser has 6). */
export const RECEIVES_EXTRA = 16;
export const RECEIVES = COMMAND_WINDOW + RECEIVES_EXTRA;
/** Tasks: the window, and the same number for tasks whose response is sent but not completed. */
export const TASKS = 2 * COMMAND_WINDOW;
/** Incomplete responses to other PDUs. At this limit a PDU waits in its receive. */
export const CONTROL_RESPONSES = 32;
/** Task management functions of one session that wait for the end of tasks. Linux sends one at a time. */
export const TASK_MANAGEMENT_MAX = 16;
/** The data segment that a receive holds: immediate data and text requests. The same as in LIO. */
export const TARGET_RECEIVE_DATA_BYTES = 8192;
/**
 * The longest data segment that we send in full feature phase. Linux initiators post 128 bytes whatever they declare,
 * and no initiator may declare less than 512, so this length is always safe.
 */
export const TARGET_SEND_DATA_BYTES_MAX = 128;
/** The longest RDMA Read. LIO also reads 1 MiB at a time, so initiators support it. */
export const READ_BYTES_MAX = 1 * MIB;
/** Reads of one task: the longest transfer. */
export const READS_PER_TASK = UNIT_TRANSFER_BYTES_MAX / READ_BYTES_MAX;
/** The RDMA Reads that we want to have outstanding. The initiator's IRD and the device may allow fewer. */
export const READ_DEPTH = 16;
/** Buffer memory of one session. So an initiator that answers no RDMA Read leaves most buffers to the others. */
export const SESSION_BUFFER_BYTES_MAX = 16 * MIB;
/** The text of one request, over all PDUs that the C bit joins. Real requests have less than 300 bytes. */
export const TEXT_REQUEST_BYTES_MAX = 8192;
/** A silent session is pinged after three ticks and ended after six ticks. */
export const WATCHDOG_TICK_MS = 10_000;
export const WATCHDOG_PING_TICKS = 3;
export const WATCHDOG_GIVE_UP_TICKS = 6;
/** How long a closing portal waits for running commands before it ends their connections. */
export const CLOSE_DRAIN_MS = 2_000;
/** How long an orderly disconnect waits until sent data has left. A peer that does not read gets no more time. */
export const TARGET_DISCONNECT_TIMEOUT_MS = 5_000;

/** Connections that wait to be accepted. They are accepted at once, so this is only for bursts. */
export const LISTEN_BACKLOG = 32;
/** The data buffers of a portal, at most 98 MiB: enough for six sessions with their full share. */
export const BUFFER_CLASSES: readonly SizeClass[] = [
  { slotBytes: 4 * KIB, slotsMax: 1024, slotsPerSlab: 128 },
  { slotBytes: 32 * KIB, slotsMax: 320, slotsPerSlab: 32 },
  { slotBytes: 256 * KIB, slotsMax: 80, slotsPerSlab: 8 },
  { slotBytes: 1 * MIB, slotsMax: 32, slotsPerSlab: 2 },
  { slotBytes: UNIT_TRANSFER_BYTES_MAX, slotsMax: 8, slotsPerSlab: 1 },
];
