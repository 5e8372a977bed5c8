/** `iser-nbd/target`: an iSER target, for labs and for tests of initiators. docs/library.md has an example. */
export { FaultPlan } from '../target/session/faults.js';
export type { InjectedFault, FaultFilter, FaultInjector } from '../target/session/faults.js';
export { Asc, SenseKey } from '../scsi/sense.js';
export type { LoginRedirect } from '../target/session/login-policy.js';
export { parseLunSpec } from '../store/lun-spec.js';
export type { LunSpec } from '../store/lun-spec.js';
export { openStore } from '../store/open-store.js';
export type { OpenStoreOptions } from '../store/open-store.js';
export { TargetPortal } from '../target/session/portal.js';
export type { TargetPortalOptions } from '../target/session/portal.js';
export { CompletionList, StoreOp, StoreRequest, StoreStatus } from '../store/store.js';
export type { Store } from '../store/store.js';

export type { ChapCredentials, ChapIdentity } from '../iscsi/chap.js';
export { CHAP_ALGORITHMS, ChapAlgorithm } from '../iscsi/chap-algorithm.js';
export { IwarpTransport } from '../transport/iwarp/transport.js';
export type { IwarpOptions } from '../transport/iwarp/transport.js';
export { MemoryFabric } from '../transport/memory/fabric.js';
export type { PortalAddress, RdmaTransport } from '../transport/verbs.js';

export { systemClock } from '../common/clock.js';
export type { Clock } from '../common/clock.js';
export { ConfigError, IserNbdError } from '../common/errors.js';
export { Slab } from '../common/slab.js';
export { CounterSet } from '../observe/counters.js';
export { createLogger, silentLogger } from '../observe/log.js';
export type { LogLevel, Logger } from '../observe/log.js';
