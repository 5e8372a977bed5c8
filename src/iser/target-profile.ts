/** What a kind of target can bear, where neither the protocol nor a login tells. */
export interface TargetProfile {
  /** For logs. */
  readonly name: string;
  /** Tasks outstanding at once, control PDUs included. */
  readonly tasksMax: number;
  /** Data of the read commands, and of the write commands, that are outstanding at once. */
  readonly readBytesOutstandingMax: number;
  readonly writeBytesOutstandingMax: number;
  /** Receives that the target does not get back for a command that was aborted without a response. */
  readonly receivesPerAbort: number;
}

/**
 * Linux's ib_isert, over soft-iWARP in the worst case. Nothing tells a target's kind before the login, and all others
 * that are known bear more, so this is what all of them get.
 *
 * - It posts 128 receives for a connection (ISERT_QP_MAX_RECV_DTOS), and its command window can be wider. When both run
 *   full, the next PDU finds no receive, and the connection ends.
 * - For reads it takes a work request per 24 KiB, has about a thousand, and drops the connection when they run out. 8 MiB
 *   are 350.
 * - For writes it fetches the data of all commands at the same time, and gives up the connection when the data of one is
 *   not there 3 seconds after the command (`dataout_timeout`). With 8 MiB, a network may be as slow as 3 MB/s.
 * - It does not post the receive again of a command that was aborted without a response.
 */
export const LINUX_TARGET: TargetProfile = {
  name: 'ib_isert',
  tasksMax: 128,
  readBytesOutstandingMax: 8 * 1024 * 1024,
  writeBytesOutstandingMax: 8 * 1024 * 1024,
  receivesPerAbort: 1,
};
