import { systemClock } from '../../common/clock.js';
import type { Clock } from '../../common/clock.js';
import { ConfigError } from '../../common/errors.js';
import { silentLogger } from '../../observe/log.js';
import type { Logger } from '../../observe/log.js';
import { SoftDevice } from '../rnic/device.js';
import type { ConnectionEventHandler, ConnectionId, RdmaTransport } from '../verbs.js';
import { IwarpConnectionId } from './connection-id.js';
import {
  FPDU_BYTES_DEFAULT,
  FPDU_BYTES_MAX,
  FPDU_BYTES_MIN,
  MPA_REPLY_TIMEOUT_MS,
  MPA_REQUEST_TIMEOUT_MS,
  TCP_CONNECT_TIMEOUT_MS,
} from './limits.js';
import type { CrcMode } from './mpa.js';
import type { IwarpSettings } from './settings.js';

export interface IwarpOptions {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** `on` requests CRCs from the peer, and enforces them as a responder. Default `off`: the peer decides. */
  readonly crc?: CrcMode;
  /** The longest FPDU to send, from its length field to its CRC. Received FPDUs may have any size. */
  readonly fpduBytes?: number;
  /** The time for a peer's MPA request, and for its MPA reply. Default: the times of Linux soft-iWARP. */
  readonly mpaTimeoutMs?: number;
  /** The time for the TCP connection. */
  readonly tcpTimeoutMs?: number;
  /** The device, if several transports share one. Default: a new device. */
  readonly device?: SoftDevice;
}

/**
 * iWARP in software: RDMA over an ordinary TCP socket, without privileges, modules or hardware.
 */
export class IwarpTransport implements RdmaTransport {
  readonly name = 'iwarp';
  readonly #device: SoftDevice;
  readonly #settings: IwarpSettings;

  /** @throws ConfigError for an FPDU size outside the limits */
  constructor(options: IwarpOptions = {}) {
    const fpduBytes = options.fpduBytes ?? FPDU_BYTES_DEFAULT;
    if (!Number.isInteger(fpduBytes) || fpduBytes < FPDU_BYTES_MIN || fpduBytes > FPDU_BYTES_MAX) {
      throw new ConfigError(
        'fpdu-bytes',
        `An FPDU has ${FPDU_BYTES_MIN} to ${FPDU_BYTES_MAX} bytes, not ${fpduBytes}.`,
        { fpduBytes },
      );
    }
    this.#device = options.device ?? new SoftDevice('iwarp0');
    this.#settings = {
      log: options.log ?? silentLogger,
      clock: options.clock ?? systemClock,
      crc: options.crc ?? 'off',
      fpduBytes,
      requestTimeoutMs: options.mpaTimeoutMs ?? MPA_REQUEST_TIMEOUT_MS,
      replyTimeoutMs: options.mpaTimeoutMs ?? MPA_REPLY_TIMEOUT_MS,
      tcpTimeoutMs: options.tcpTimeoutMs ?? TCP_CONNECT_TIMEOUT_MS,
    };
  }

  createId(onEvent: ConnectionEventHandler): ConnectionId {
    return new IwarpConnectionId(this.#settings, this.#device, onEvent);
  }
}
