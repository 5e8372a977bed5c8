import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/common/manual-clock.js';
import { ConfigError } from '../../../src/common/errors.js';
import {
  CLIENT_HANDOVER_MS,
  ORPHANS_HELD_MS,
  RESTART_DELAY_MAX_MS,
} from '../../../src/gateway/workers/limits.js';
import { WorkerPool } from '../../../src/gateway/workers/pool.js';
import { packError } from '../../../src/gateway/workers/start-failure.js';
import type { Client } from '../../../src/nbd/socket.js';
import { CounterSet } from '../../../src/observe/counters.js';
import { silentLogger } from '../../../src/observe/log.js';
import { HandleDouble, ScriptedWorkers } from '../../support/gateway/scripted-workers.js';

let clock: ManualClock;
let workers: ScriptedWorkers;
let pool: WorkerPool;
let counters: CounterSet;
let handles: HandleDouble[];
let refused: { client: Client; message: string }[];

beforeEach(() => {
  clock = new ManualClock();
  workers = new ScriptedWorkers();
  counters = new CounterSet();
  handles = [];
  refused = [];
  pool = new WorkerPool({
    workers: 2,
    spawn: workers.spawn,
    limits: { connectionsMax: 6, connectionsPerAddressMax: 6 },
    refuse: (client, message) => refused.push({ client, message }),
    startMessage: () => ({
      logLevel: 'silent',
      config: { exports: [], listen: [], initiatorName: 'iqn.2026-11.io.example:i' },
      tlsContents: null,
    }),
    log: silentLogger,
    clock,
    counters,
  });
});

async function started(): Promise<void> {
  const starting = pool.start();
  for (const worker of workers.all) worker.start();
  await starting;
}

/** `count` clients come; their numbers go on from those before. */
function come(count: number): void {
  for (let index = 0; index < count; index++) {
    const handle = new HandleDouble();
    handles.push(handle);
    pool.accept(handle, null);
  }
}

function closeCounts(): number[] {
  return handles.map(({ closeCount }) => closeCount);
}

describe('the start of workers', () => {
  it('is over when all are ready', async () => {
    const starting = pool.start();
    expect(workers.all.map(({ number }) => number)).toEqual([1, 2]);
    workers.of(1).start();
    expect(await Promise.race([starting, Promise.resolve('not yet')])).toBe('not yet');
    workers.of(2).start();
    await starting;
    expect(workers.of(2).sent[0]).toMatchObject({ type: 'start', worker: 2, lost: [] });
  });

  it('fails with what the first worker says, when none is left', async () => {
    const starting = pool.start();
    workers.of(1).start();
    const error = new ConfigError('scsi-no-such-lun', 'there is no such LUN', { lun: 7 });
    workers.of(2).say({ type: 'up' });
    workers.of(2).say({ type: 'failed', error: packError(error) });
    await Promise.resolve();
    expect(workers.of(1).sent.at(-1)).toEqual({ type: 'stop' });
    workers.of(2).end({ status: 1 });
    expect(await Promise.race([starting, Promise.resolve('not yet')])).toBe('not yet');
    workers.of(1).end({ status: 0 });
    const facts = { code: error.code, message: error.message, facts: error.facts };
    await expect(starting).rejects.toMatchObject(facts);
    expect(workers.all).toHaveLength(2);
    expect(clock.armedCount).toBe(0);
  });

  it('fails when a worker ends without a word', async () => {
    const starting = pool.start();
    workers.of(1).end({ signal: 'SIGSEGV' });
    workers.of(2).end({ status: 0 });
    await expect(starting).rejects.toThrow(/worker 1 ended before it was ready .*SIGSEGV/);
  });

  it('that failed kills what does not end by itself', async () => {
    const starting = pool.start();
    workers.of(1).end({ status: 9 });
    await Promise.resolve();
    clock.advance(10_000);
    expect(workers.of(2).killCount).toBe(1);
    workers.of(2).end();
    await expect(starting).rejects.toThrow(/exit status 9/);
  });
});

describe('clients', () => {
  it('go to workers one at a time, and their handles are let go once they are taken', async () => {
    await started();
    come(4);
    expect([workers.of(1).clients, workers.of(2).clients]).toEqual([[1], [2]]);
    expect(closeCounts()).toEqual([0, 0, 0, 0]);
    workers.of(1).take(1);
    expect(workers.of(1).clients).toEqual([1, 3]);
    expect(workers.of(1).handles).toEqual([handles[0], handles[2]]);
    workers.of(1).take(3);
    workers.of(2).take(2, 4);
    expect(closeCounts()).toEqual([1, 1, 1, 1]);
  });

  it('beyond the limit are refused and counted, until some are released', async () => {
    await started();
    come(7);
    expect(closeCounts()).toEqual([0, 0, 0, 0, 0, 0, 0]);
    expect(refused).toEqual([
      {
        client: { socket: handles[6], address: null },
        message: expect.stringMatching(/limits.connections is 6/) as string,
      },
    ]);
    expect(counters.counter('nbd_connections_refused_total', '').value).toBe(1);
    workers.of(1).take(1);
    workers.of(1).say({ type: 'released', conn: 1 });
    come(1);
    expect(closeCounts()).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect(refused).toHaveLength(1);
  });

  it('that a worker never took go to another when it ends; those it took are gone with it', async () => {
    await started();
    come(5);
    workers.of(1).take(1);
    workers.of(2).take(2);
    // Of worker 1: 1 is served, 3 is sent, 5 waits. Of worker 2: 2 is served, 4 is sent.
    workers.of(1).end();
    expect(closeCounts()).toEqual([1, 1, 0, 0, 0]);
    workers.of(2).take(4, 3, 5);
    expect(workers.of(2).clients).toEqual([2, 4, 3, 5]);
    expect(closeCounts()).toEqual([1, 1, 1, 1, 1]);
    expect((await reported()).connections).toEqual({ 1: 0, 2: 4 });
  });

  it('wait while there is no worker at all', async () => {
    await started();
    workers.of(1).end();
    workers.of(2).end();
    come(2);
    clock.advance(0);
    expect(workers.all).toHaveLength(4);
    workers.of(2).start();
    workers.of(2).take(1, 2);
    expect([workers.of(2).clients, closeCounts()]).toEqual([
      [1, 2],
      [1, 1],
    ]);
  });

  it('behind one that a worker does not take go to another, but never the one that it was sent', async () => {
    await started();
    come(6);
    workers.of(2).take(2, 4, 6);
    clock.advance(CLIENT_HANDOVER_MS);
    workers.of(2).take(3, 5);
    expect(workers.of(2).clients).toEqual([2, 4, 6, 3, 5]);
    expect(closeCounts()).toEqual([0, 1, 1, 1, 1, 1]);
    for (const conn of [2, 4, 6, 3]) workers.of(2).say({ type: 'released', conn });
    come(1);
    expect(workers.of(2).clients.at(-1)).toBe(7);
    workers.of(1).take(1);
    expect(closeCounts()[0]).toBe(1);
    come(1);
    expect(workers.of(1).clients).toEqual([1, 8]);
  });
});

async function reported() {
  const report = pool.report();
  for (const worker of [workers.of(1), workers.of(2)]) {
    if (worker.sent.at(-1)?.type === 'count') worker.say({ type: 'counted', readings: [] });
  }
  return report;
}

describe('a worker that ends', () => {
  it('whose session is lost has a successor that does not vouch for writes; the others do', async () => {
    await started();
    const lost = { exportName: 'disk', reason: 'the target is gone' };
    workers.of(1).say({ type: 'diskLost', ...lost });
    expect(workers.of(2).sent.some(({ type }) => type === 'writesLost')).toBe(false);
    workers.of(1).end();
    clock.advance(0);
    workers.of(1).say({ type: 'up' });
    expect(workers.of(1).sent).toMatchObject([{ type: 'start', lost: [lost] }]);
    const worse = { exportName: 'disk', reason: 'power on' };
    workers.of(1).say({ type: 'writesLost', ...worse });
    expect(workers.of(2).sent.at(-1)).toEqual({ type: 'writesLost', ...worse });
  });

  it('is replaced at once, and the new one is told of lost writes', async () => {
    await started();
    const lost = { exportName: 'disk', reason: 'power on' };
    workers.of(1).say({ type: 'writesLost', ...lost });
    expect(workers.of(1).sent.at(-1)?.type).toBe('start');
    expect(workers.of(2).sent.at(-1)).toEqual({ type: 'writesLost', ...lost });
    workers.of(1).end();
    clock.advance(0);
    workers.of(1).say({ type: 'up' });
    expect(workers.of(1).sent).toMatchObject([{ type: 'start', lost: [lost] }]);
  });

  it('and cannot log in is tried again, while the other serves', async () => {
    await started();
    workers.of(1).end();
    for (let round = 0; round < 3; round++) {
      clock.advance(1000);
      workers.of(1).say({ type: 'up' });
      workers.of(1).say({ type: 'failed', error: packError(new Error('nothing answers')) });
      workers.of(1).end({ status: 1 });
    }
    come(2);
    workers.of(2).take(1, 2);
    clock.advance(1000);
    workers.of(1).start();
    come(2);
    workers.of(1).take(3);
    expect([workers.of(1).clients, workers.of(2).clients]).toEqual([
      [3, 4],
      [1, 2],
    ]);
  });
});

describe('counters', () => {
  it('are summed over workers, with what an ended one had told last', async () => {
    await started();
    counters.counter('own', '').add(3);
    const tell = (worker: number, value: number): void =>
      workers.of(worker).say({ type: 'counted', readings: [{ name: 'n', labels: {}, value }] });
    tell(1, 10);
    workers.of(1).end();
    const report = pool.report();
    tell(2, 5);
    expect((await report).counters).toEqual({ own: 3, n: 15 });
  });

  it('of a worker that does not answer are what it told last', async () => {
    await started();
    const reading = { name: 'n', labels: {}, value: 4 };
    workers.of(1).say({ type: 'counted', readings: [reading] });
    const report = pool.report();
    workers.of(2).say({ type: 'counted', readings: [reading] });
    clock.advance(1000);
    expect((await report).counters).toEqual({ n: 8 });
  });

  it('are asked for from time to time, but not of a worker that does not answer', async () => {
    await started();
    const asked = (worker: number): number =>
      workers.of(worker).sent.filter(({ type }) => type === 'count').length;
    for (let round = 0; round < 4; round++) {
      clock.advance(5_000);
      workers.of(1).say({ type: 'counted', readings: [] });
    }
    expect([asked(1), asked(2)]).toEqual([4, 1]);
  });
});

describe('the stop of workers', () => {
  it('is over when all have ended, and starts none again', async () => {
    await started();
    come(1);
    const stopping = pool.stop();
    expect(workers.all.map(({ sent }) => sent.at(-1)?.type)).toEqual(['stop', 'stop']);
    workers.of(1).end({ status: 0 });
    workers.of(2).end({ status: 0 });
    await stopping;
    expect(closeCounts()).toEqual([1]);
    come(1);
    expect(closeCounts()).toEqual([1, 1]);
    clock.advance(100_000);
    expect([workers.all.length, clock.armedCount]).toEqual([2, 0]);
  });

  it('tells workers that drain of lost writes, too', async () => {
    await started();
    const stopping = pool.stop();
    const lost = { exportName: 'disk', reason: 'deferred error' };
    workers.of(1).say({ type: 'writesLost', ...lost });
    expect(workers.of(2).sent.at(-1)).toEqual({ type: 'writesLost', ...lost });
    for (const number of [1, 2]) workers.of(number).end({ status: 0 });
    await stopping;
  });

  it('reaches a worker that does not listen yet', async () => {
    await started();
    workers.of(1).end();
    clock.advance(0);
    const stopping = pool.stop();
    workers.of(1).say({ type: 'up' });
    expect(workers.of(1).sent).toEqual([{ type: 'stop' }, { type: 'stop' }]);
    for (const number of [1, 2]) workers.of(number).end({ status: 0 });
    await stopping;
  });

  it('drops clients that wait, and kills a worker that hangs', async () => {
    await started();
    workers.of(1).end();
    workers.of(2).end();
    come(1);
    clock.advance(0);
    workers.of(2).say({ type: 'up' });
    const stopping = pool.stop();
    expect(closeCounts()).toEqual([1]);
    workers.of(1).end({ status: 0 });
    clock.advance(39_000);
    expect(workers.of(2).killCount).toBe(0);
    clock.advance(1_000);
    expect(workers.of(2).killCount).toBe(1);
    workers.of(2).end();
    await stopping;
  });
});

describe('ranges that are being changed', () => {
  const ranges = [{ number: 3, startBytes: 0, endBytes: 512 }];
  const busy = { type: 'busy', unitName: 'disk', ranges } as const;
  const busyTo = (worker: number) =>
    workers.of(worker).sent.filter(({ type }) => type === 'busy' || type === 'over');

  it('are told to all other workers, and their end', async () => {
    await started();
    workers.of(1).say(busy);
    workers.of(1).say({ type: 'over', unitName: 'disk', numbers: [3] });
    expect(busyTo(1)).toEqual([]);
    expect(busyTo(2)).toEqual([
      { ...busy, worker: 1 },
      { type: 'over', worker: 1, unitName: 'disk', numbers: [3] },
    ]);
  });

  it('are told to a worker that starts later', async () => {
    await started();
    workers.of(1).say(busy);
    workers.of(2).end();
    clock.advance(RESTART_DELAY_MAX_MS);
    workers.of(2).start();
    expect(busyTo(2)).toEqual([{ ...busy, worker: 1 }]);
  });

  it('of a worker that has ended are held until its successor serves', async () => {
    await started();
    workers.of(1).say(busy);
    workers.of(1).end();
    expect(busyTo(2)).toHaveLength(1);
    clock.advance(0);
    workers.of(1).start();
    expect(busyTo(2).at(-1)).toEqual({ type: 'over', worker: 1, unitName: 'disk', numbers: [3] });
    expect(busyTo(1)).toEqual([]);
  });

  it('of a worker that has no successor are held for a while', async () => {
    await started();
    workers.of(1).say(busy);
    workers.of(1).end();
    clock.advance(ORPHANS_HELD_MS);
    expect(busyTo(2).at(-1)).toMatchObject({ type: 'over', worker: 1 });
  });

  it('are asked for before a client is let in', async () => {
    await started();
    workers.of(1).isSilent = true;
    come(1);
    expect(workers.all.flatMap(({ clients }) => clients)).toEqual([]);
    const round = workers.of(1).sent.findLast((message) => message.type === 'announce')?.round ?? 0;
    workers.of(1).say({ type: 'announced', round });
    expect(workers.all.flatMap(({ clients }) => clients)).toEqual([1]);
  });
});

describe('clients that come when their worker is ending', () => {
  it('are kept for the next one', async () => {
    await started();
    for (const worker of workers.all) worker.isSilent = true;
    come(1);
    for (const number of [1, 2]) workers.of(number).end();
    clock.advance(RESTART_DELAY_MAX_MS);
    workers.of(2).start();
    expect(workers.of(2).clients).toEqual([1]);
  });
});

describe('the units behind the exports', () => {
  const unitOf = (serial: string) => ({ vendor: 'V', product: 'P', serial, designators: [] });

  it('must be the same for all workers', async () => {
    const starting = pool.start();
    for (const [worker, serial] of [
      [1, 'A'],
      [2, 'B'],
    ] as const) {
      workers.of(worker).say({ type: 'up' });
      workers.of(worker).say({ type: 'ready', units: { disk: unitOf(serial) } });
    }
    await Promise.resolve();
    for (const worker of workers.all) worker.end({ status: 0 });
    await expect(starting).rejects.toThrow(/worker 2 found a different disk behind export disk/);
  });

  it('are told to a worker that starts later, which may not serve another', async () => {
    const starting = pool.start();
    for (const worker of workers.all) {
      worker.say({ type: 'up' });
      worker.say({ type: 'ready', units: { disk: unitOf('A') } });
    }
    await starting;
    workers.of(2).end();
    clock.advance(RESTART_DELAY_MAX_MS);
    workers.of(2).say({ type: 'up' });
    expect(workers.of(2).sent[0]).toMatchObject({ type: 'start', units: { disk: unitOf('A') } });
    workers.of(2).say({ type: 'ready', units: { disk: unitOf('B') } });
    expect(workers.of(2).killCount).toBe(1);
    come(1);
    expect(workers.of(2).clients).toEqual([]);
  });
});
