/** The limits of a kind of target that neither the protocol nor a login reports. */
export interface TargetProfile {
  /** For logs. */
  readonly name: string;
  /** The most outstanding tasks, control PDUs included. */
  readonly tasksMax: number;
  /** The most data of outstanding read commands, and of outstanding write commands. */
  readonly readBytesOutstandingMax: number;
  readonly writeBytesOutstandingMax: number;
  /** The receives that the target loses when a command is aborted without a response. */
  readonly receivesPerAbort: number;
}

/**
 * Linux's ib_isert, in the worst case over soft-iWARP. The kind of a target is unknown before the login, and all
 * other known targets have higher limits, so this profile is used for every target.
 *
 * - isert posts 128 receives per connection (ISERT_QP_MAX_RECV_DTOS), but its command window can be larger. When all
 *   receives are used, the next PDU ends the connection.
 * - For reads isert needs one work request per 24 KiB, has about a thousand, and drops the connection when none is
 *   left. 8 MiB need 350.
 * - For writes isert fetches the data of all commands at the same time, and drops the connection when the data of a
 *   command has not arrived 3 seconds after the command (`dataout_timeout`). With 8 MiB a network of 3 MB/s is fast
 *   enough.
 * - isert does not repost the receive of a command that was aborted without a response.
 */
export const LINUX_TARGET: TargetProfile = {
  name: 'ib_isert',
  tasksMax: 128,
  readBytesOutstandingMax: 8 * 1024 * 1024,
  writeBytesOutstandingMax: 8 * 1024 * 1024,
  receivesPerAbort: 1,
};
