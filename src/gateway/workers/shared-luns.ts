import { randomBytes } from 'node:crypto';
import { parseLunSpec } from '../../store/lun-spec.js';
import { openStore } from '../../store/open-store.js';
import { TargetPortal } from '../../target/session/portal.js';
import { IwarpTransport } from '../../transport/iwarp/transport.js';
import { EMBEDDED_TARGET_NAME } from '../embedded.js';
import type { TransportServices } from '../transports.js';
import type { ExportConfig } from '../gateway-config.js';

/** The exports for workers: embedded LUNs have become remote LUNs of a target in this process. */
export interface SharedLuns {
  readonly exports: readonly ExportConfig[];
  close(): Promise<void>;
}

/** 192 bits. */
const SECRET_BYTES = 24;

/**
 * Makes embedded LUNs available to workers. A memory or file LUN exists in one process only, so workers reach it as a LUN
 * of a target in the primary, over iWARP on the loopback interface. Only workers can log in to that target: by CHAP in
 * both directions, with new random secrets at every start.
 *
 * @throws ConfigError when a LUN cannot be opened; nothing stays open then
 */
export async function shareLuns(
  exports: readonly ExportConfig[],
  { log, clock }: TransportServices,
): Promise<SharedLuns> {
  const portals: TargetPortal[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(portals.map((portal) => portal.close()));
  };
  const share = async (item: ExportConfig): Promise<ExportConfig> => {
    if (item.url.kind !== 'embedded') return item;
    const targetLog = log.child({ target: 'embedded', export: item.name });
    const store = await openStore(parseLunSpec(item.url.spec), { log: targetLog });
    const credentials = {
      user: 'worker',
      secret: newSecret(),
      mutual: { user: 'primary', secret: newSecret() },
    };
    const portal = new TargetPortal({
      transport: new IwarpTransport({ log, clock }),
      name: EMBEDDED_TARGET_NAME,
      luns: [store],
      chap: credentials,
      clock,
      log: targetLog,
    });
    portals.push(portal);
    const address = await portal.listen({ host: '127.0.0.1', port: 0 });
    const where = { kind: 'remote', portal: address, targetName: EMBEDDED_TARGET_NAME } as const;
    const how = { transport: 'iwarp', crc: false, fpduBytes: null } as const;
    const who = { user: null, chapAlgorithms: null };
    return { ...item, url: { ...where, lun: 0, ...how, ...who }, credentials };
  };
  try {
    const shared: ExportConfig[] = [];
    for (const item of exports) shared.push(await share(item));
    return { exports: shared, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function newSecret(): Uint8Array {
  return randomBytes(SECRET_BYTES);
}
