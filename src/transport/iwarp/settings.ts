import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../observe/log.js';
import type { CrcMode } from './mpa.js';

/** The settings of all connections of one transport. */
export interface IwarpSettings {
  readonly log: Logger;
  readonly clock: Clock;
  readonly crc: CrcMode;
  readonly fpduBytes: number;
  /** The time for a peer's complete MPA request. */
  readonly requestTimeoutMs: number;
  /** The time for a peer's complete MPA reply. */
  readonly replyTimeoutMs: number;
  /** The time for the TCP connection. */
  readonly tcpTimeoutMs: number;
}
