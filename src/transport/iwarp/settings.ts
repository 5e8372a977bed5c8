import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../observe/log.js';
import type { CrcMode } from './mpa.js';

/** What all connections of one transport share. */
export interface IwarpSettings {
  readonly log: Logger;
  readonly clock: Clock;
  readonly crc: CrcMode;
  readonly fpduBytes: number;
  /** For a peer's whole MPA request. */
  readonly requestTimeoutMs: number;
  /** For a peer's whole MPA reply. */
  readonly replyTimeoutMs: number;
  /** For TCP to come up. */
  readonly tcpTimeoutMs: number;
}
