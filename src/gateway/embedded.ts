import type { Clock } from '../common/clock.js';
import type { Logger } from '../observe/log.js';
import { parseLunSpec } from '../store/lun-spec.js';
import { openStore } from '../store/open-store.js';
import { TargetPortal } from '../target/session/portal.js';
import type { PortalAddress } from '../transport/verbs.js';
import type { Transports } from './transports.js';

export const EMBEDDED_TARGET_NAME = 'iqn.2026-11.io.example.iser-nbd:embedded';

/** A target in this process with one LUN, and its address for the memory transport. */
export interface EmbeddedTarget {
  readonly address: PortalAddress;
  close(): Promise<void>;
}

export interface EmbeddedOptions {
  readonly log: Logger;
  readonly clock: Clock;
  readonly transports: Transports;
}

/**
 * Starts a target whose LUN 0 is `spec` (memory:SIZE or file:PATH[:SIZE]).
 *
 * @throws ConfigError for a LUN that cannot be opened
 */
export async function startEmbeddedTarget(
  spec: string,
  { log, clock, transports }: EmbeddedOptions,
): Promise<EmbeddedTarget> {
  const targetLog = log.child({ target: 'embedded' });
  const store = await openStore(parseLunSpec(spec), { log: targetLog });
  const portal = new TargetPortal({
    transport: transports.createTargetTransport(),
    name: EMBEDDED_TARGET_NAME,
    luns: [store],
    clock,
    log: targetLog,
  });
  const address = await portal.listen({ host: 'embedded', port: 0 });
  return { address, close: () => portal.close() };
}
