/**
 * The whole chain without sockets: block request, SCSI, iSCSI, iSER, the memory transport, the target, and back, with
 * CPU time per request. The scheduler cannot disturb it much, so that a change of a few per cent shows on a machine
 * that is not quiet; builds that are compared take turns.
 */
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as clockModule from '../../src/common/clock.js';
import type * as slabModule from '../../src/common/slab.js';
import type * as deviceModule from '../../src/block/device.js';
import type * as contextModule from '../../src/gateway/initiator-context.js';
import type { InitiatorContext } from '../../src/gateway/initiator-context.js';
import type * as lunModule from '../../src/gateway/lun.js';
import type * as iserModule from '../../src/iser/module.js';
import type * as logModule from '../../src/observe/log.js';

const LUN_BYTES = 64 * 1024 * 1024;
const SLICE_MS = 60;

export interface ChainResult {
  readonly name: string;
  /** CPU time of one request: the median slice, and the best one. */
  readonly medianNs: number;
  readonly leastNs: number;
}

interface LoadCase {
  readonly name: string;
  readonly isWrite: boolean;
  readonly bytes: number;
  readonly depth: number;
}

const LOADS: readonly LoadCase[] = [
  { name: '4 KiB read QD1', isWrite: false, bytes: 4096, depth: 1 },
  { name: '4 KiB read QD32', isWrite: false, bytes: 4096, depth: 32 },
  { name: '4 KiB write QD32', isWrite: true, bytes: 4096, depth: 32 },
  { name: '1 MiB read QD4', isWrite: false, bytes: 1024 * 1024, depth: 4 },
  { name: '1 MiB write QD4', isWrite: true, bytes: 1024 * 1024, depth: 4 },
];

/** `builds`: by name, the main.js of each. Results come as they are had. */
export async function measureChains(
  builds: Readonly<Record<string, string>>,
  slicesPerBuild: number,
  isSelected: (name: string) => boolean,
  report: (result: ChainResult) => void,
): Promise<void> {
  for (const load of LOADS.filter(({ name }) => isSelected(`chain/${name}`))) {
    const chains: [string, Chain][] = [];
    for (const [name, main] of Object.entries(builds))
      chains.push([name, await openChain(main, load)]);
    for (let warmUp = 0; warmUp < 5; warmUp++) for (const [, chain] of chains) await chain.slice();
    const slices = new Map(chains.map(([name]) => [name, [] as number[]]));
    for (let index = 0; index < slicesPerBuild; index++) {
      for (const [name, chain] of chains) slices.get(name)?.push(await chain.slice());
    }
    for (const [name, values] of slices) {
      const sorted = values.sort((a, b) => a - b);
      const medianNs = sorted[sorted.length >> 1] ?? NaN;
      report({ name: `chain/${load.name}, ${name}`, medianNs, leastNs: sorted[0] ?? NaN });
    }
    for (const [, chain] of chains) await chain.close();
  }
}

interface Chain {
  /** Runs for a while; CPU nanoseconds per request. */
  slice(): Promise<number>;
  close(): Promise<void>;
}

/** The modules of a build, which may be another than the one that the types are of. */
async function loadBuild(main: string) {
  const load: Load = <T>(path: string) =>
    import(pathToFileURL(join(dirname(main), '..', path)).href) as Promise<T>;
  const { silentLogger } = await load<typeof logModule>('observe/log.js');
  return {
    ...(await load<typeof lunModule>('gateway/lun.js')),
    ...(await load<typeof slabModule>('common/slab.js')),
    ...(await load<typeof deviceModule>('block/device.js')),
    createContext: await contextMaker(load, silentLogger),
  };
}

type Load = <T>(path: string) => Promise<T>;

async function contextMaker(load: Load, log: logModule.Logger): Promise<() => InitiatorContext> {
  try {
    const path = 'gateway/initiator-context.js';
    const { createInitiatorContext } = await load<typeof contextModule>(path);
    return () => createInitiatorContext({ log });
  } catch {
    // A build from before there was such a module.
    const { IserModule } = await load<typeof iserModule>('iser/module.js');
    const { SlabPool } = await load<typeof slabModule>('common/slab.js');
    const { systemClock: clock } = await load<typeof clockModule>('common/clock.js');
    const initiatorName = 'iqn.2026-11.io.example.iser-nbd:bench';
    const context = { module: new IserModule(), pool: new SlabPool(), log, clock, initiatorName };
    return () => context as unknown as InitiatorContext;
  }
}

async function openChain(main: string, { isWrite, bytes, depth }: LoadCase): Promise<Chain> {
  const build = await loadBuild(main);
  const { BlockRequest, BlockOp, Slab } = build;
  const url = { kind: 'embedded', spec: `memory:${LUN_BYTES}` } as const;
  const lun = await build.openLun(url, null, build.createContext());
  const slab = new Slab(bytes * depth);
  let untilMs = 0;
  let started = 0;
  let running = 0;
  let finished: () => void = () => undefined;
  const go = (request: deviceModule.BlockRequest): void => {
    if (request.status !== 0) throw new Error(`request failed with ${request.status}`);
    // The clock is read seldom, since it costs as much as part of the work.
    if ((started & 63) === 0 && performance.now() >= untilMs) untilMs = 0;
    if (untilMs === 0) {
      if (--running === 0) finished();
      return;
    }
    started++;
    request.op = isWrite ? BlockOp.write : BlockOp.read;
    request.offset = ((Math.imul(started, 2_654_435_761) >>> 0) % (LUN_BYTES / bytes)) * bytes;
    lun.device.submit(request);
  };
  const requests = Array.from({ length: depth }, (_, index) => {
    const request = new BlockRequest(go);
    request.slab = slab;
    request.slabOffset = index * bytes;
    request.length = bytes;
    return request;
  });
  if (requests[0] !== undefined) await fillLun(lun.device, requests[0], BlockOp.write);
  const slice = async (): Promise<number> => {
    const before = process.cpuUsage();
    const startedBefore = started;
    untilMs = performance.now() + SLICE_MS;
    running = depth;
    const end = new Promise<void>((resolve) => (finished = resolve));
    for (const request of requests) go(request);
    await end;
    const { user, system } = process.cpuUsage(before);
    return ((user + system) * 1000) / (started - startedBefore);
  };
  return { slice, close: () => lun.close() };
}

/** Writes the whole LUN, with `request`, whose length divides it. */
async function fillLun(
  device: deviceModule.BlockDevice,
  request: deviceModule.BlockRequest,
  write: deviceModule.BlockOp,
): Promise<void> {
  const { done } = request;
  request.op = write;
  for (request.offset = 0; request.offset < LUN_BYTES; request.offset += request.length) {
    await new Promise<void>((resolve) => {
      request.done = () => resolve();
      device.submit(request);
    });
  }
  request.done = done;
}
