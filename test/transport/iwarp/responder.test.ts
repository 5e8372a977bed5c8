import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/common/manual-clock.js';
import { HALF_OPEN_PER_HOST_MAX } from '../../../src/transport/iwarp/limits.js';
import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import { mpaFrame, readFrames, untagged } from '../../support/iwarp/frames.js';
import {
  acceptNext,
  anyAddress,
  called,
  cleanUp,
  iserHeader,
  onCleanUp,
} from '../../support/iwarp/parties.js';
import { RawPeer } from '../../support/iwarp/raw-peer.js';
import { adopt, listen } from '../../support/transport/pair.js';
import { sendWork } from '../../support/transport/work.js';
import * as vectors from '../../vectors/iwarp-frames.js';

afterEach(cleanUp);

describe('listening over iWARP', () => {
  it('answers a Linux initiator byte for byte, however its request comes', async () => {
    const { events, call } = await called();
    const peer = await call();
    for (const byte of vectors.mpaRequestOfIser) peer.write(Buffer.of(byte));
    const endpoint = await acceptNext(events);
    // IRD 16, and an ORD of no more than the 16 reads that the peer bears.
    expect(await peer.read(28)).toEqual(
      mpaFrame({ kind: 'Rep', flags: 0x10, depths: [16, 16], privateData: iserHeader }),
    );
    await endpoint.events.next('established');
  });

  it('sends nothing before the first FPDU of the initiator', async () => {
    const { events, call } = await called();
    const peer = await call();
    peer.write(vectors.mpaRequestOfIser);
    const endpoint = await acceptNext(events);
    await endpoint.events.next('established');
    const receive = endpoint.receive(endpoint.register(16));
    const early = sendWork(endpoint.register(8), 0, 8);
    endpoint.post(early);
    await peer.read(28);
    peer.write(untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(4) }));
    await receive.completion;
    await peer.read(32);
    expect((await early.completion).status).toBe('success');
    expect(peer.received).toHaveLength(0);
  });

  it('insists on CRCs when told to', async () => {
    const { events, call } = await called({ crc: 'on' });
    const peer = await call();
    peer.write(vectors.mpaRequestOfIser);
    const endpoint = await acceptNext(events);
    expect((await peer.read(28))[16]).toBe(0x50);
    peer.write(untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(4) }));
    const { reason } = await endpoint.events.next('disconnected');
    expect(reason).toMatch(/CRC error/);
    const { frames } = readFrames(await peer.readToEnd());
    expect(frames.map((frame) => frame.payload.toString('hex'))).toEqual(['20020000']);
  });

  it('closes callers that say nothing, or not all of it, in time', async () => {
    const clock = new ManualClock();
    const { call, events } = await called({ clock, mpaTimeoutMs: 900 });
    const silent = await call();
    const slow = await call();
    slow.write(vectors.mpaRequestOfIser.subarray(0, 27));
    // A third caller is served, so the first two have been seen by then.
    const good = await call();
    good.write(vectors.mpaRequestOfIser);
    await acceptNext(events);
    clock.advance(900);
    expect(await silent.readToEnd()).toHaveLength(0);
    expect(await slow.readToEnd()).toHaveLength(0);
    expect(good.hasEnded).toBe(false);
  });

  it('has the longest silent caller of an address make room for a new one', async () => {
    const { call, events } = await called();
    const first = await call();
    const others = await Promise.all(
      Array.from({ length: HALF_OPEN_PER_HOST_MAX - 1 }, () => call()),
    );
    const late = await call();
    expect(await first.readToEnd()).toHaveLength(0);
    late.write(vectors.mpaRequestOfIser);
    await acceptNext(events);
    expect(others.filter((peer) => peer.hasEnded)).toHaveLength(0);
  });

  it('does so for callers of all addresses together', async () => {
    const { listener, events, address } = await listen(new IwarpTransport(), {
      host: '127.0.0.1',
      port: 0,
    });
    onCleanUp(() => listener.destroy());
    const call = async (localAddress: string): Promise<RawPeer> => {
      const peer = await RawPeer.connect(address.port, localAddress);
      onCleanUp(() => peer.socket.destroy());
      return peer;
    };
    const first = await call('127.0.0.2');
    for (const host of ['127.0.0.3', '127.0.0.4', '127.0.0.5']) {
      for (let count = 0; count < HALF_OPEN_PER_HOST_MAX - 1; count++) await call(host);
    }
    expect(await first.readToEnd()).toHaveLength(0);
    const good = await call('127.0.0.6');
    good.write(vectors.mpaRequestOfIser);
    const { id } = await acceptNext(events);
    expect(id.peerHost).toBe('127.0.0.6');
  });

  it('bounds the callers that wait for their answer', async () => {
    const transport = new IwarpTransport();
    const { listener, events, address } = await listen(transport, anyAddress, 1);
    onCleanUp(() => listener.destroy());
    const peers = await Promise.all([1, 2].map(() => RawPeer.connect(address.port)));
    peers[0]!.write(vectors.mpaRequestOfIser);
    const { id } = await events.next('connectRequest');
    peers[1]!.write(vectors.mpaRequestOfIser);
    expect(await peers[1]!.readToEnd()).toHaveLength(0);
    id.reject(new Uint8Array());
    id.destroy();
    expect((await peers[0]!.readToEnd()).subarray(16)).toEqual(
      Buffer.from('3002000400000000', 'hex'),
    );
    const third = await RawPeer.connect(address.port);
    third.write(vectors.mpaRequestOfIser);
    await acceptNext(events);
    third.socket.destroy();
  });

  it.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(0)],
    [
      'revision 3',
      mpaFrame({ kind: 'Req', flags: 0x10, revision: 3, depths: [1, 1] }),
      Buffer.alloc(0),
    ],
    ['a reply', vectors.mpaReplyOfSiw, Buffer.alloc(0)],
    [
      'an FPDU before the reply',
      Buffer.concat([vectors.mpaRequestOfIser, vectors.sendFpdu]),
      Buffer.alloc(0),
    ],
    [
      'a wish for markers',
      mpaFrame({ kind: 'Req', flags: 0x90, depths: [1, 1] }),
      vectors.mpaRejectOfSiw,
    ],
  ])('turns away a caller with %s, and serves the next', async (_name, bytes, answer) => {
    const { events, call } = await called();
    const bad = await call();
    bad.write(bytes);
    expect(await bad.readToEnd()).toEqual(answer);
    const good = await call();
    good.write(vectors.mpaRequestOfIser);
    const endpoint = await acceptNext(events);
    await endpoint.events.next('established');
    expect(events.types).toEqual(['connectRequest']);
  });

  it.each<[string, (peer: RawPeer) => void, RegExp]>([
    ['leaves', (peer) => peer.socket.end(), /closed the connection/],
    ['resets', (peer) => void peer.socket.resetAndDestroy(), /ECONNRESET/],
    ['sends more', (peer) => peer.write(vectors.sendFpdu), /sent more before the MPA reply/],
  ])(
    'tells the owner of a request whose caller %s before it is accepted',
    async (_name, act, reason) => {
      const { events, call } = await called();
      const peer = await call();
      peer.write(vectors.mpaRequestOfIser);
      const { id } = await events.next('connectRequest');
      const endpoint = adopt(id);
      const receive = endpoint.receive(endpoint.register(16));
      act(peer);
      expect((await endpoint.events.next('connectError')).reason).toMatch(reason);
      id.accept(endpoint.parameters);
      expect((await receive.completion).status).toBe('flushed');
      await endpoint.close();
      expect(endpoint.events.types).toEqual(['connectError']);
    },
  );

  it('names the listener and the callers', async () => {
    const { listener, events, call } = await called();
    expect(listener.peerName).toMatch(/^127\.0\.0\.1:\d+$/);
    const peer = await call();
    peer.write(vectors.mpaRequestOfIser);
    const { id } = await events.next('connectRequest');
    expect(id.peerName).toBe(`127.0.0.1:${peer.socket.localPort ?? 0}`);
    id.destroy();
    await peer.readToEnd();
  });
});
