import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/common/manual-clock.js';
import { STREAM_CLOSE_TIMEOUT_MS } from '../../../src/transport/iwarp/limits.js';
import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import type { IwarpOptions } from '../../../src/transport/iwarp/transport.js';
import type { ConnectionId, MemoryKey } from '../../../src/transport/verbs.js';
import { readFrames, tagged, untagged } from '../../support/iwarp/frames.js';
import type { RawPeer } from '../../support/iwarp/raw-peer.js';
import { acceptNext, anyAddress, called, cleanUp } from '../../support/iwarp/parties.js';
import {
  Endpoint,
  connectPair,
  defaultEndpointOptions,
  listen,
  resolve,
} from '../../support/transport/pair.js';
import {
  fillPattern,
  readWork,
  remoteAt,
  sendWork,
  writeWork,
} from '../../support/transport/work.js';
import * as vectors from '../../vectors/iwarp-frames.js';

afterEach(cleanUp);

describe('an established iWARP connection', () => {
  async function established(options: IwarpOptions = {}) {
    const { events, call } = await called(options);
    const peer = await call();
    peer.write(vectors.mpaRequestOfIser);
    const endpoint = await acceptNext(events);
    await endpoint.events.next('established');
    await peer.read(28);
    return { endpoint, peer, call, events };
  }

  it('answers a violation with Terminate and an end, and leaves other connections alone', async () => {
    const { endpoint, peer, call, events } = await established();
    const other = await call();
    other.write(vectors.mpaRequestOfIser);
    const otherEndpoint = await acceptNext(events);
    const buffer = endpoint.register(64);
    peer.write(
      tagged({
        opcode: 0,
        stag: (buffer.region.rkey ^ 1) >>> 0,
        offset: 0n,
        payload: Buffer.alloc(8, 1),
      }),
    );
    const { reason } = await endpoint.events.next('disconnected');
    expect(reason).toMatch(
      /^protocol violation by the peer: DDP tagged buffer error: invalid STag/,
    );
    const { frames } = readFrames(await peer.readToEnd());
    expect(frames.map((frame) => [frame.control, frame.payload.toString('hex', 0, 4)])).toEqual([
      ['4147', '1100c000'],
    ]);
    const receive = otherEndpoint.receive(otherEndpoint.register(16));
    other.write(untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(4) }));
    expect((await receive.completion).status).toBe('success');
  });

  it('tells an orderly end from a broken connection', async () => {
    const orderly = await established();
    orderly.peer.socket.end();
    expect((await orderly.endpoint.events.next('disconnected')).reason).toBeNull();
    const broken = await established();
    broken.peer.socket.resetAndDestroy();
    expect((await broken.endpoint.events.next('disconnected')).reason).toMatch(/ECONNRESET/);
    const cut = await established();
    cut.peer.socket.end(vectors.sendFpdu.subarray(0, 10));
    expect((await cut.endpoint.events.next('disconnected')).reason).toMatch(/middle of an FPDU/);
  });

  it('names the reason that the peer gives in a Terminate', async () => {
    const { endpoint, peer } = await established();
    peer.write(
      untagged({ opcode: 7, queue: 2, sequence: 1, payload: vectors.siwTerminateNoBuffer }),
    );
    const { reason } = await endpoint.events.next('disconnected');
    expect(reason).toBe('the peer sent Terminate: DDP untagged buffer error: no buffer available');
  });

  it.each([
    ['broke', (peer: RawPeer) => peer.socket.resetAndDestroy()],
    ['the peer ended', (peer: RawPeer) => peer.socket.end()],
  ])('leaves no timer behind when it %s', async (_name, end) => {
    const clock = new ManualClock();
    const { endpoint, peer } = await established({ clock });
    end(peer);
    await endpoint.events.next('disconnected');
    expect(clock.armedCount).toBe(0);
  });

  it('does not wait for ever for a peer that does not read', async () => {
    const clock = new ManualClock();
    const { endpoint, peer } = await established({ clock });
    const receive = endpoint.receive(endpoint.register(16));
    peer.write(untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(4) }));
    await receive.completion;
    peer.socket.pause();
    const source = endpoint.register(32 * 1024 * 1024);
    const work = writeWork(source, 0, source.slab.length, { key: 1 as MemoryKey, high: 0, low: 0 });
    endpoint.post(work);
    endpoint.id.disconnect();
    // The stream gives up first, then what it left in the socket does.
    clock.advance(STREAM_CLOSE_TIMEOUT_MS);
    clock.advance(STREAM_CLOSE_TIMEOUT_MS);
    expect((await endpoint.events.next('disconnected')).reason).toBeNull();
    expect((await work.completion).status).toBe('flushed');
  });

  it.each([1400, 1447, 9000, 65_500])(
    'moves data with FPDUs of %i bytes, with and without CRC',
    async (fpduBytes) => {
      for (const crc of ['off', 'on'] as const) {
        const transport = new IwarpTransport({ fpduBytes, crc });
        const other = new IwarpTransport();
        const pair = await connectPair({ active: transport, passive: other, address: anyAddress });
        const length = 3_000_001;
        const [source, sink] = [pair.active.register(length), pair.active.register(length)];
        const target = pair.passive.register(length);
        fillPattern(source.slab.bytes, fpduBytes);
        pair.active.post(writeWork(source, 0, length, remoteAt(target.region)).unsignaled());
        const read = await pair.active.perform(readWork(sink, 0, length, remoteAt(target.region)));
        expect(read.status).toBe('success');
        expect(target.slab.bytes.equals(source.slab.bytes)).toBe(true);
        expect(sink.slab.bytes.equals(source.slab.bytes)).toBe(true);
        await pair.close();
      }
    },
  );

  it('serves many connections at once', async () => {
    const transport = new IwarpTransport();
    const pairs = await Promise.all(
      Array.from({ length: 10 }, () =>
        connectPair({ active: transport, passive: transport, address: anyAddress }),
      ),
    );
    await Promise.all(
      pairs.map(async ({ active, passive }, index) => {
        const source = active.register(500_000);
        const target = passive.register(500_000);
        fillPattern(source.slab.bytes, index + 1);
        await active.perform(writeWork(source, 0, 500_000, remoteAt(target.region)));
        const receive = passive.receive(passive.register(8));
        await active.perform(sendWork(source, 0, 8));
        await receive.completion;
        expect(target.slab.bytes.equals(source.slab.bytes)).toBe(true);
      }),
    );
    for (const pair of pairs) await pair.close();
  });

  it('lets ids be destroyed at any time', async () => {
    const transport = new IwarpTransport();
    const { listener, address } = await listen(transport, anyAddress);
    const ids: ConnectionId[] = [];
    const { id, events } = await resolve(transport, address);
    const endpoint = new Endpoint(id, events, defaultEndpointOptions);
    id.connect(endpoint.parameters);
    ids.push(
      id,
      transport.createId(() => undefined),
    );
    listener.destroy();
    for (const one of ids) one.destroy();
    await endpoint.queuePair.drain();
    endpoint.queuePair.destroy();
  });
});
