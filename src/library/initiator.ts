/** `iser-nbd/initiator`: discovery, and remote LUNs as block devices. docs/library.md has an example. */
export { createInitiatorContext, defaultInitiatorName } from '../gateway/initiator-context.js';
export type { InitiatorContext, InitiatorContextOptions } from '../gateway/initiator-context.js';
export { discover, openLun, openPath } from '../gateway/lun.js';
export type { LunPath, OpenLun } from '../gateway/lun.js';
export { Transports } from '../gateway/transports.js';
export { parseExportUrl, parsePortalUrl } from '../gateway/url.js';
export type { EmbeddedLun, ExportUrl, RemoteLun, TransportChoice } from '../gateway/url.js';

export { BlockOp, BlockRequest, BlockStatus } from '../block/device.js';
export type { BlockDevice, BlockDeviceInfo, BlockExtent } from '../block/device.js';

export type { ChapCredentials, ChapIdentity } from '../iscsi/chap.js';
export { CHAP_ALGORITHMS, ChapAlgorithm } from '../iscsi/chap-algorithm.js';
export { connectSession, discoverTargets } from '../initiator/connect.js';
export type { SessionConnectOptions } from '../initiator/connect.js';
export type { DiscoveredTarget } from '../iscsi/send-targets.js';
export type { IscsiSession } from '../initiator/session.js';
export { connectIser } from '../iser/initiator.js';
export type { IserConnectOptions } from '../iser/initiator.js';
export { IserModule } from '../iser/module.js';
export type { IserModuleOptions } from '../iser/module.js';
export { ScsiDisk } from '../disk/scsi-disk.js';
export { inspectLogicalUnit } from '../disk/inspect.js';
export type { InspectedUnit } from '../disk/inspect.js';
export { ScsiCommand } from '../scsi/port.js';
export type { ScsiPort } from '../scsi/port.js';
export { IwarpTransport } from '../transport/iwarp/transport.js';
export type { IwarpOptions } from '../transport/iwarp/transport.js';
export type { PortalAddress, RdmaTransport } from '../transport/verbs.js';

export { systemClock } from '../common/clock.js';
export type { Clock } from '../common/clock.js';
export { ConfigError, IserNbdError } from '../common/errors.js';
export { Slab, SlabPool } from '../common/slab.js';
export { createLogger, silentLogger } from '../observe/log.js';
export type { LogLevel, Logger } from '../observe/log.js';
