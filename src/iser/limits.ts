/** Bounds of the iSER initiator, each with its reason. The kernel names are of drivers/infiniband/ulp/iser. */

/** Commands outstanding per connection (`ISER_DEF_XMIT_CMDS_MAX`). */
export const COMMANDS_MAX = 512;

/** One command Send in this many is signalled (`ISER_SIGNAL_CMD_COUNT`). */
export const SIGNAL_COUNT = 32;

/**
 * Command Sends that may be uncovered beyond those of the commands that are outstanding: their responses have come,
 * the completion that gives their descriptors back has not. Two signalled batches, so that one can be on its way
 * while the next fills; when they are used up, commands wait.
 */
export const UNCOVERED_SENDS_MAX = 2 * SIGNAL_COUNT;

/** Work requests that one command posts: REG_MR and Send. */
const REQUESTS_PER_COMMAND = 2;

/** Control PDUs of ours that a target has receives for (`ISER_MAX_TX_MISC_PDUS`). */
export const CONTROL_PDUS_MAX = 6;

/**
 * Control Sends whose completion may be awaited at once. Above CONTROL_PDUS_MAX, since answers to a target's pings
 * count too; a target that pings on and does not read gets its connection ended when they are used up.
 */
export const CONTROL_DESCRIPTORS = 16;

/** PDUs that a target may send unasked: NOP-In, Asynchronous Message, Reject (`ISER_MAX_RX_MISC_PDUS`). */
const UNSOLICITED_PDUS_MAX = 4;

/** Receives are posted again in batches of a quarter of the ring (`min_posted_rx`), but no more than this at once. */
const RECEIVE_BATCH_MAX = 32;

/**
 * The data segment that a receive of the full feature phase holds. Linux initiators post 128 bytes; 8192 is what an
 * initiator that declares nothing accepts (RFC 7143 13.12), so text and NOP-In fit whatever was declared. At
 * COMMANDS_MAX the ring takes 4.5 MiB.
 */
export const ISER_RECEIVE_DATA_BYTES = 8192;

/** Immediate data of a write, and data of a control PDU: what targets receive (TargetRecvDataSegmentLength). */
export const ISER_SEND_DATA_BYTES_MAX = 8192;

/** Data of one command: 4096 pages of 4 KiB, the most that ib_iser maps (`ISCSI_ISER_MAX_SG_TABLESIZE`). */
export const ISER_TRANSFER_BYTES_MAX = 16 * 1024 * 1024;

/** RDMA Reads that a target may have outstanding: what soft-iWARP grants (`SIW_MAX_IRD_QP`). */
export const ISER_READ_DEPTH_MAX = 128;

/** Connections that share a completion queue (`ISCSI_ISER_MAX_CONN`). */
export const CONNECTIONS_PER_COMPLETION_QUEUE = 8;

/** From resolving the address to the accepted connection: siw answers or gives up within 10 s. */
export const ISER_CONNECT_TIMEOUT_MS = 15_000;

/** A peer that does not confirm the end of a connection by then is gone. */
export const ISER_DISCONNECT_TIMEOUT_MS = 5_000;

/** How a connection for `commands` commands sizes its queues. */
export interface QueueSizes {
  readonly commands: number;
  /** Command Sends that may be uncovered at once. */
  readonly commandSendsMax: number;
  readonly sendRequestsMax: number;
  /** The ring, without the receive for login. */
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
 * iWARP has no "receiver not ready": a Send that finds no receive ends the connection, so the batch that waits to be
 * posted again is added to what is needed, where the kernel (on InfiniBand) takes it away.
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

/** The most commands, up to `wanted`, whose queues fit a device with `workRequestsMax` per queue; 0 if none. */
export function commandsThatFit(wanted: number, workRequestsMax: number): number {
  let commands = Math.min(wanted, COMMANDS_MAX);
  for (; commands > 0; commands--) {
    const sizes = queueSizesFor(commands);
    if (Math.max(sizes.sendRequestsMax, sizes.receiveRequestsMax) <= workRequestsMax) break;
  }
  return Math.max(commands, 0);
}
