import { hostname } from 'node:os';
import { systemClock } from '../common/clock.js';
import type { Clock } from '../common/clock.js';
import { SlabPool } from '../common/slab.js';
import { IserModule } from '../iser/module.js';
import type { IserModuleOptions } from '../iser/module.js';
import type { Logger } from '../observe/log.js';
import { Transports } from './transports.js';

/** The parts that all LUNs of a process share. */
export interface InitiatorContext {
  readonly module: IserModule;
  readonly transports: Transports;
  /** The buffers of the devices. NBD clients have others: see docs/architecture.md. */
  readonly pool: SlabPool;
  readonly log: Logger;
  readonly clock: Clock;
  readonly initiatorName: string;
}

export interface InitiatorContextOptions extends IserModuleOptions {
  readonly log: Logger;
  readonly clock?: Clock;
  /** {@link defaultInitiatorName} by default. */
  readonly initiatorName?: string | undefined;
}

/** Makes the parts that all LUNs of a process share. One context is enough for a process. */
export function createInitiatorContext({
  log,
  clock = systemClock,
  initiatorName = defaultInitiatorName(),
  ...moduleOptions
}: InitiatorContextOptions): InitiatorContext {
  return {
    module: new IserModule(moduleOptions),
    transports: new Transports({ log, clock }),
    pool: new SlabPool(),
    log,
    clock,
    initiatorName,
  };
}

/** `iqn.2026-11.io.example.iser-nbd:HOSTNAME`, without characters that an iSCSI name may not contain. */
export function defaultInitiatorName(): string {
  const host = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9.-]/g, '');
  return `iqn.2026-11.io.example.iser-nbd:${host === '' ? 'host' : host}`;
}
