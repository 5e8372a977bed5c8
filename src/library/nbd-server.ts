/** `iser-nbd/nbd-server`: an NBD server over any block device. docs/library.md has an example. */
export { BlockOp, BlockRequest, BlockStatus } from '../block/device.js';
export type { BlockDevice, BlockDeviceInfo, BlockExtent } from '../block/device.js';
export { checkRequest } from '../block/check.js';
export { Completions } from '../block/completions.js';
export { AligningDevice } from '../block/align.js';
export type { AligningOptions } from '../block/align.js';
export { SplittingDevice } from '../block/split.js';
export { RangeLock } from '../block/range-lock.js';

export { NbdServer } from '../nbd/server.js';
export type { NbdServerOptions } from '../nbd/server.js';
export { NbdExport, fixedExports } from '../nbd/export.js';
export type { ExportTable, NbdExportOptions } from '../nbd/export.js';
export type { AccessRule } from '../nbd/access.js';
export type { NbdLimits } from '../nbd/limits.js';
export type { Client, ListenAddress, NbdAddress } from '../nbd/socket.js';
export { TlsGate } from '../nbd/tls.js';
export type { TlsContents, TlsFiles } from '../nbd/tls.js';

export { systemClock } from '../common/clock.js';
export type { Clock } from '../common/clock.js';
export { ConfigError, IserNbdError } from '../common/errors.js';
export { Slab, SlabPool, sizeClassesWithin } from '../common/slab.js';
export type { SizeClass } from '../common/slab.js';
export { CounterSet } from '../observe/counters.js';
export { createLogger, silentLogger } from '../observe/log.js';
export type { LogLevel, Logger } from '../observe/log.js';
