import type { Clock } from '../common/clock.js';
import type { DatamoverConnection } from '../iscsi/datamover.js';
import type { Logger } from '../observe/log.js';
import type { PortalAddress, RdmaTransport } from '../transport/verbs.js';
import { IserConnection } from './connection.js';
import { COMMANDS_MAX, ISER_CONNECT_TIMEOUT_MS, ISER_DISCONNECT_TIMEOUT_MS } from './limits.js';
import type { IserModule } from './module.js';
import { LINUX_TARGET } from './target-profile.js';
import type { TargetProfile } from './target-profile.js';

export interface IserConnectOptions {
  readonly transport: RdmaTransport;
  readonly address: PortalAddress;
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * The most commands. With the profile it determines the queue sizes and `limits.tasksMax`. Default and maximum:
   * COMMANDS_MAX.
   */
  readonly commandsMax?: number;
  /** The limits of the target. Default: {@link LINUX_TARGET}. */
  readonly profile?: TargetProfile;
  readonly timeouts?: IserTimeouts;
}

export interface IserTimeouts {
  /** The time limit for the establishment of the connection. */
  readonly connectMs?: number;
  /** The time that the peer has to confirm the end of the connection. */
  readonly disconnectMs?: number;
}

/**
 * Connects to an iSER target's portal. The connection is ready for a login; {@link DatamoverConnection} describes the
 * next steps. The caller sets `handler` at once.
 * @throws IserConnectionError when the connection cannot be established; every resource is released then. Codes:
 * iser-address, iser-unreachable, iser-timed-out, iser-rejected, iser-not-iwarp, iser-resources, iser-disconnected,
 * iser-cancelled, iser-device-removed
 */
export async function connectIser(
  module: IserModule,
  options: IserConnectOptions,
): Promise<DatamoverConnection> {
  const { transport, address, clock, log, timeouts } = options;
  const connection = new IserConnection(module, {
    transport,
    address,
    clock,
    log,
    commandsMax: options.commandsMax ?? COMMANDS_MAX,
    profile: options.profile ?? LINUX_TARGET,
    connectTimeoutMs: timeouts?.connectMs ?? ISER_CONNECT_TIMEOUT_MS,
    disconnectTimeoutMs: timeouts?.disconnectMs ?? ISER_DISCONNECT_TIMEOUT_MS,
  });
  await connection.connect();
  return connection;
}
