/** Limits of the iSER initiator, each with its reason. The kernel names are from drivers/infiniband/ulp/iser. */

/** Outstanding commands per connection (`ISER_DEF_XMIT_CMDS_MAX`). */
export const COMMANDS_MAX = 512;

/** Every 32nd command Send is signalled (`ISER_SIGNAL_CMD_COUNT`). */
export const SIGNAL_COUNT = 32;

/**
 * Uncovered command Sends of commands that have ended: the response has arrived, but no completion covers the Send
 * yet. Two signalled batches, so that one batch can be on its way while the next one fills. When the limit is
 * reached, commands wait.
 */
export const UNCOVERED_SENDS_MAX = 2 * SIGNAL_COUNT;

/** Work requests that one command posts: REG_MR and Send. */
const REQUESTS_PER_COMMAND = 2;

/** Our control PDUs for which a target posts receives (`ISER_MAX_TX_MISC_PDUS`). */
export const CONTROL_PDUS_MAX = 6;

/**
 * Incomplete control Sends. More than CONTROL_PDUS_MAX, because answers to a target's pings count too. The connection
 * of a target that sends pings but does not read the answers ends at this limit.
 */
export const CONTROL_DESCRIPTORS = 16;

/** Unsolicited PDUs of a target: NOP-In, Asynchronous Message, Reject (`ISER_MAX_RX_MISC_PDUS`). */
const UNSOLICITED_PDUS_MAX = 4;

/** Receives are posted again in batches of a quarter of the ring (`min_posted_rx`). This is the largest batch. */
const RECEIVE_BATCH_MAX = 32;

/**
 * The data segment that a receive of the full feature phase holds. Linux initiators post 128 bytes. An initiator
 * without a declaration must accept 8192 bytes (RFC 7143 13.12), so text and NOP-In always fit. At COMMANDS_MAX the
 * ring takes 4.5 MiB.
 */
export const ISER_RECEIVE_DATA_BYTES = 8192;

/**
 * Immediate data of a write, and data of a control PDU: the length that targets receive
 * (TargetRecvDataSegmentLength).
 */
export const ISER_SEND_DATA_BYTES_MAX = 8192;

/** Data of one command: 4096 pages of 4 KiB, the most that ib_iser maps (`ISCSI_ISER_MAX_SG_TABLESIZE`). */
export const ISER_TRANSFER_BYTES_MAX = 16 * 1024 * 1024;

/** Outstanding RDMA Reads of a target: the number that soft-iWARP grants (`SIW_MAX_IRD_QP`). */
export const ISER_READ_DEPTH_MAX = 128;

/** Connections that share a completion queue (`ISCSI_ISER_MAX_CONN`). */
export const CONNECTIONS_PER_COMPLETION_QUEUE = 8;

/** The time from the start of address resolution to the accepted connection. siw answers or fails within 10 s. */
export const ISER_CONNECT_TIMEOUT_MS = 15_000;

/** The time for a peer to confirm the end of a connection. After it the peer counts as gone. */
export const ISER_DISCONNECT_TIMEOUT_MS = 5_000;

/** The queue sizes of a connection. */
export interface QueueSizes {
  readonly commands: number;
  /** The most uncovered command Sends. */
  readonly commandSendsMax: number;
  readonly sendRequestsMax: number;
  /** The receives of the ring, without the receive for login. */
  readonly ringReceives: number;
  readonly receiveBatch: number;
  readonly receiveRequestsMax: number;
}

/**
 * With T commands, U uncovered Sends and C control descriptors:
 *
 *     send queue     (T + U) * 2   REG_MR and Send of each command
 *                  + T             LOCAL_INV of each command, when the target does not invalidate
 *                  + C
 *     receive queue  T             a response to each command
 *                  + misc          answers to control PDUs, and what comes unasked
 *                  + batch         given back, but not posted again yet
 *                  + 1             login
 *
 * iWARP has no "receiver not ready": a Send without a posted receive ends the connection. So the receive queue has
 * extra room for the batch that waits to be posted again. The kernel, on InfiniBand, subtracts that batch instead.
 */
export function queueSizesFor(commands: number): QueueSizes {
  const commandSendsMax = commands + UNCOVERED_SENDS_MAX;
  const expected = commands + CONTROL_PDUS_MAX + UNSOLICITED_PDUS_MAX;
  const receiveBatch = Math.min(RECEIVE_BATCH_MAX, Math.max(1, expected >> 2));
  const ringReceives = expected + receiveBatch;
  return {
    commands,
    commandSendsMax,
    sendRequestsMax: commandSendsMax * REQUESTS_PER_COMMAND + commands + CONTROL_DESCRIPTORS,
    ringReceives,
    receiveBatch,
    receiveRequestsMax: ringReceives + 1,
  };
}

/**
 * The most commands, up to `wanted`, whose queues fit a device with `workRequestsMax` per queue; 0 if no command
 * fits.
 */
export function commandsThatFit(wanted: number, workRequestsMax: number): number {
  let commands = Math.min(wanted, COMMANDS_MAX);
  for (; commands > 0; commands--) {
    const sizes = queueSizesFor(commands);
    if (Math.max(sizes.sendRequestsMax, sizes.receiveRequestsMax) <= workRequestsMax) break;
  }
  return Math.max(commands, 0);
}
