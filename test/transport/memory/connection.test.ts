import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/common/manual-clock.js';
import { MemoryFabric } from '../../../src/transport/memory/fabric.js';
import { VerbsError } from '../../../src/transport/verbs.js';
import type { TransportUnderTest } from '../../support/transport/pair.js';
import {
  Endpoint,
  adopt,
  connectPair,
  defaultEndpointOptions,
  listen,
  resolve,
} from '../../support/transport/pair.js';
import {
  readWork,
  remoteAt,
  sendInvalidateWork,
  sendWork,
  writeWork,
} from '../../support/transport/work.js';
import { turn, until } from '../../support/waiting.js';

function setup(clock = new ManualClock()): TransportUnderTest & { fabric: MemoryFabric } {
  const fabric = new MemoryFabric(clock);
  return {
    fabric,
    active: fabric.createTransport(),
    passive: fabric.createTransport(),
    address: { host: 'lab', port: 0 },
  };
}

async function call(transports: TransportUnderTest, address: { host: string; port: number }) {
  const { id, events } = await resolve(transports.active, address);
  const endpoint = new Endpoint(id, events, defaultEndpointOptions);
  endpoint.id.connect(endpoint.parameters);
  return endpoint;
}

describe('memory fabric', () => {
  it('keeps two fabrics apart', async () => {
    const here = setup();
    const there = setup();
    const { address } = await listen(here.passive, here.address);
    const caller = await call(there, address);
    expect((await caller.events.next('unreachable')).reason).toContain('lab:');
  });

  it('lets a listener on every address hear callers of any', async () => {
    const transports = setup();
    const { events, address } = await listen(transports.passive, { host: '0.0.0.0', port: 7 });
    expect(address).toEqual({ host: '0.0.0.0', port: 7 });
    await call(transports, { host: 'anything', port: 7 });
    expect((await events.next('connectRequest')).id.peerName).toMatch(/^memory:\d+$/);
  });

  it('makes devices as poor as it is told to', async () => {
    const fabric = new MemoryFabric();
    const transports = {
      active: fabric.createTransport({ fastRegistration: false, remoteInvalidate: false }),
      passive: fabric.createTransport(),
      address: { host: 'lab', port: 0 },
    };
    const pair = await connectPair(transports);
    expect(pair.active.device.attributes.fastRegistration).toBe(false);
    expect(pair.passive.device.attributes.fastRegistration).toBe(true);
    expect(() => pair.active.domain.allocateFastRegion(4096)).toThrow(VerbsError);
    await pair.close();
  });

  it('refuses an address without a host or a port', async () => {
    const transports = setup();
    for (const address of [
      { host: '', port: 3260 },
      { host: 'lab', port: 0 },
      { host: 'lab', port: 65_536 },
    ]) {
      await expect(resolve(transports.active, address)).rejects.toThrow('addressError');
    }
    const id = transports.passive.createId(() => undefined);
    await expect(id.listen({ host: 'lab', port: 65_536 }, 1)).rejects.toThrow(VerbsError);
  });

  it('refuses private data that is too long to carry', async () => {
    const transports = setup();
    const { id, events } = await resolve(transports.active, { host: 'lab', port: 1 });
    const privateData = new Uint8Array(253);
    const endpoint = new Endpoint(id, events, { ...defaultEndpointOptions, privateData });
    expect(() => id.connect(endpoint.parameters)).toThrow(VerbsError);
  });
});

describe('memory connection set-up', () => {
  it('turns callers away when too many wait, and lets them in again afterwards', async () => {
    const transports = setup();
    const { events, address } = await listen(transports.passive, transports.address, 1);
    await call(transports, address);
    const second = await call(transports, address);
    expect((await second.events.next('unreachable')).reason).toContain('too many callers');
    (await events.next('connectRequest')).id.reject(new Uint8Array());
    await call(transports, address);
    await events.next('connectRequest');
  });

  it('gives up on a listener that does not answer, and tells it when it does', async () => {
    const clock = new ManualClock();
    const transports = setup(clock);
    const { events, address } = await listen(transports.passive, transports.address);
    const caller = await call(transports, address);
    const { id } = await events.next('connectRequest');
    clock.advance(60_000);
    await caller.events.next('unreachable');
    const late = adopt(id);
    late.id.accept(late.parameters);
    await late.events.next('connectError');
    expect(clock.armedCount).toBe(0);
  });

  it('does not connect a queue pair that its owner has given up meanwhile', async () => {
    const transports = setup();
    const { events, address } = await listen(transports.passive, transports.address);
    const caller = await call(transports, address);
    const peer = adopt((await events.next('connectRequest')).id);
    caller.queuePair.setError();
    peer.id.accept(peer.parameters);
    await peer.events.next('connectError');
    await caller.events.next('rejected');
  });

  it('rejects the caller of a request that is dropped', async () => {
    const transports = setup();
    const { events, address } = await listen(transports.passive, transports.address);
    const caller = await call(transports, address);
    (await events.next('connectRequest')).id.destroy();
    expect((await caller.events.next('rejected')).reason).toContain('dropped');
  });
});

describe('memory data path', () => {
  it('blames the request that was refused, as a network card does', async () => {
    const cases = [
      { status: 'remoteAccessError', reason: 'unknown or revoked' },
      { status: 'remoteAccessError', reason: 'outside of the memory region' },
      { status: 'remoteInvalidRequest', reason: 'no receive was posted' },
      { status: 'remoteInvalidRequest', reason: 'may not be invalidated' },
    ];
    for (const [index, { status, reason }] of cases.entries()) {
      const pair = await connectPair(setup());
      const own = pair.active.register(64);
      own.slab.bytes.fill(1);
      const target = pair.passive.register(64);
      const works = [
        readWork(own, 0, 64, remoteAt(target.region, 0, (target.region.rkey ^ 1) >>> 0)),
        writeWork(own, 0, 64, remoteAt(target.region, 1)),
        sendWork(own, 0, 64),
        sendInvalidateWork(own, 0, 64, target.region.rkey),
      ];
      if (index === 3) pair.passive.receive(target);
      expect((await pair.active.perform(works[index]!)).status).toBe(status);
      for (const side of [pair.active, pair.passive]) {
        expect((await side.events.next('disconnected')).reason).toContain(reason);
      }
      expect(target.slab.bytes.equals(Buffer.alloc(64))).toBe(true);
      await pair.close();
    }
  });

  it('delivers what was queued, too, when a disconnect is followed by destroy at once', async () => {
    const pair = await connectPair(setup());
    const receive = pair.passive.receive(pair.passive.register(64));
    pair.active.post(sendWork(pair.active.register(64), 0, 64));
    pair.active.id.disconnect();
    pair.active.id.destroy();
    expect((await receive.completion).status).toBe('success');
    expect((await pair.passive.events.next('disconnected')).reason).toBeNull();
    await pair.close();
  });

  it('reads within the memory of one device', async () => {
    const fabric = new MemoryFabric();
    const transport = fabric.createTransport();
    const address = { host: 'lab', port: 0 };
    const pair = await connectPair({ active: transport, passive: transport, address });
    const source = pair.passive.register(100);
    source.slab.bytes.fill(3);
    const sink = pair.active.register(100);
    await pair.active.perform(readWork(sink, 0, 100, remoteAt(source.region)));
    expect(sink.slab.bytes.equals(source.slab.bytes)).toBe(true);
    await pair.close();
  });

  it('lets the event loop turn while two ends answer each other without a pause', async () => {
    const pair = await connectPair(setup());
    const here = pair.active.register(8);
    const there = pair.passive.register(8);
    let isOver = false;
    let rounds = 0;
    const serve = (side: Endpoint, buffer: typeof here): void => {
      const receive = side.receive(buffer);
      receive.onDone = ({ status }) => {
        if (status !== 'success' || isOver) return;
        rounds++;
        serve(side, buffer);
        side.post(sendWork(buffer, 0, 8));
      };
    };
    serve(pair.active, here);
    serve(pair.passive, there);
    pair.active.post(sendWork(here, 0, 8));
    await until(() => rounds >= 2000);
    isOver = true;
    await turn();
    await pair.close();
  });
});
