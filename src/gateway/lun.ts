import { AligningDevice } from '../block/align.js';
import type { BlockDevice } from '../block/device.js';
import { SplittingDevice } from '../block/split.js';
import type { ChapCredentials } from '../iscsi/chap.js';
import { connectIser } from '../iser/initiator.js';
import { connectSession, discoverTargets } from '../initiator/connect.js';
import type { DiscoveredTarget } from '../iscsi/send-targets.js';
import type { IscsiSession } from '../initiator/session.js';
import { ScsiDisk } from '../disk/scsi-disk.js';
import type { UnitIdentity } from '../disk/identity.js';
import type { ScsiPort } from '../scsi/port.js';
import type { PortalAddress, RdmaTransport } from '../transport/verbs.js';
import { EMBEDDED_TARGET_NAME, startEmbeddedTarget } from './embedded.js';
import { listedLunAddress } from './lun-address.js';
import type { InitiatorContext } from './initiator-context.js';
import { UnitRegistry } from './units.js';
import type { SharedUnit } from './units.js';
import type { ExportUrl, TransportChoice } from './url.js';

/** How a gateway uses a LUN; a LUN that is opened alone has no such use. */
export interface LunUse {
  readonly exportName: string;
  readonly units: UnitRegistry;
  /** Other processes serve the same LUNs to the same clients. */
  readonly isShared: boolean;
  /** The unit that the LUN must be; null when it is not known yet. */
  readonly expected: UnitIdentity | null;
}

/** A logged-in path to one LUN. */
export interface LunPath {
  readonly session: IscsiSession;
  readonly port: ScsiPort;
  /** Logs out and closes everything, also the embedded target. */
  close(): Promise<void>;
}

/** A LUN as a disk that takes any offset and length, where that is possible: see AligningDevice. */
export interface OpenLun extends LunPath {
  readonly disk: ScsiDisk;
  readonly device: BlockDevice;
  readonly unit: SharedUnit;
}

/**
 * Connects and logs in.
 *
 * @throws ConfigError, IserConnectionError or IscsiLoginError, each with one sentence for people
 */
export async function openPath(
  url: ExportUrl,
  credentials: ChapCredentials | null,
  context: InitiatorContext,
): Promise<LunPath> {
  if (url.kind === 'embedded') {
    const target = await startEmbeddedTarget(url.spec, context);
    try {
      const session = await login(
        context.transports.memory,
        target.address,
        EMBEDDED_TARGET_NAME,
        null,
        context,
      );
      return pathOf(session, session.lun(0), () => target.close());
    } catch (error) {
      await target.close();
      throw error;
    }
  }
  const transport = context.transports.choose(url);
  const session = await login(transport, url.portal, url.targetName, credentials, context);
  try {
    const lunHigh = await listedLunAddress(session.lun(0), url.lun, context);
    return pathOf(session, session.lun(url.lun, lunHigh), () => Promise.resolve());
  } catch (error) {
    await session.close();
    throw error;
  }
}

/**
 * Opens a LUN as a disk.
 *
 * @throws ScsiError when the LUN is not a usable disk or not the expected one, and the errors of {@link openPath}
 */
export async function openLun(
  url: ExportUrl,
  credentials: ChapCredentials | null,
  context: InitiatorContext,
  use: LunUse | null = null,
): Promise<OpenLun> {
  const path = await openPath(url, credentials, context);
  try {
    const { pool, clock, log } = context;
    const { port } = path;
    const disk = await ScsiDisk.open(port, { pool, clock, log }, use ?? {});
    const { exportName, units } = use ?? { exportName: port.name, units: new UnitRegistry() };
    const unit = units.join(disk, exportName, port.name);
    // An embedded LUN can be reached through this process only. Others may write to any other.
    const isExclusive = url.kind === 'embedded';
    let device: AligningDevice;
    try {
      device = new AligningDevice(new SplittingDevice(disk), { lock: unit.lock, isExclusive });
    } catch (error) {
      units.leave(disk);
      await disk.close();
      throw error;
    }
    const close = async (): Promise<void> => {
      await device.close().finally(() => path.close());
      units.leave(disk);
    };
    return { ...path, disk, device, unit, close };
  } catch (error) {
    await path.close();
    throw error;
  }
}

/**
 * Sends SendTargets to a portal.
 *
 * @throws IserNbdError for the same reasons as {@link openPath}
 */
export function discover(
  portal: PortalAddress,
  choice: TransportChoice,
  credentials: ChapCredentials | null,
  context: InitiatorContext,
): Promise<readonly DiscoveredTarget[]> {
  return discoverTargets(
    loginOptions(context.transports.choose(choice), portal, credentials, context),
  );
}

async function login(
  transport: RdmaTransport,
  portal: PortalAddress,
  targetName: string,
  credentials: ChapCredentials | null,
  context: InitiatorContext,
): Promise<IscsiSession> {
  return connectSession({ ...loginOptions(transport, portal, credentials, context), targetName });
}

function loginOptions(
  transport: RdmaTransport,
  portal: PortalAddress,
  credentials: ChapCredentials | null,
  { module, clock, log, initiatorName }: InitiatorContext,
) {
  return {
    connect: (address: PortalAddress) => connectIser(module, { transport, address, clock, log }),
    portal,
    initiatorName,
    ...(credentials === null ? {} : { credentials }),
    clock,
    log,
  };
}

function pathOf(session: IscsiSession, port: ScsiPort, closeTarget: () => Promise<void>): LunPath {
  return {
    session,
    port,
    close: () => session.close().finally(closeTarget),
  };
}
