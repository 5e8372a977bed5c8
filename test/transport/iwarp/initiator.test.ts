import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/common/manual-clock.js';
import { ConfigError } from '../../../src/common/errors.js';
import { TCP_CONNECT_TIMEOUT_MS } from '../../../src/transport/iwarp/limits.js';
import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import { mpaFrame, readFrames, untagged } from '../../support/iwarp/frames.js';
import type { MpaFields } from '../../support/iwarp/frames.js';
import { calling, cleanUp, iserHeader } from '../../support/iwarp/parties.js';
import type { RawPeer } from '../../support/iwarp/raw-peer.js';
import { RawServer } from '../../support/iwarp/raw-peer.js';
import { EventLog } from '../../support/transport/events.js';
import { Endpoint, defaultEndpointOptions, resolve } from '../../support/transport/pair.js';
import { sendWork } from '../../support/transport/work.js';
import * as vectors from '../../vectors/iwarp-frames.js';

afterEach(cleanUp);

describe('connecting over iWARP', () => {
  it('writes the whole request at once, and takes the reply of Linux soft-iWARP', async () => {
    const { events, peer } = await calling();
    expect(await peer.read(28)).toEqual(vectors.mpaRequestOfIser);
    peer.write(vectors.mpaReplyOfSiw);
    const { parameters } = await events.next('established');
    expect(parameters).toEqual({
      privateData: Uint8Array.from(iserHeader),
      responderResources: 1,
      initiatorDepth: 16,
    });
  });

  it('takes a reply in single bytes, and an FPDU that comes right behind it', async () => {
    const { endpoint, events, peer } = await calling();
    const receive = endpoint.receive(endpoint.register(16));
    await peer.read(28);
    const stream = Buffer.concat([
      vectors.mpaReplyOfSiw,
      untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(9) }),
    ]);
    for (const byte of stream.subarray(0, 27)) peer.write(Buffer.of(byte));
    peer.write(stream.subarray(27));
    await events.next('established');
    expect((await receive.completion).byteLength).toBe(9);
  });

  it('says that nobody is there when the connection is refused', async () => {
    const server = await RawServer.open();
    const { port } = server;
    server.close();
    const { id, events } = await resolve(new IwarpTransport(), { host: '127.0.0.1', port });
    const endpoint = new Endpoint(id, events, defaultEndpointOptions);
    id.connect(endpoint.parameters);
    expect((await events.next('unreachable')).reason).toMatch(/ECONNREFUSED/);
    await endpoint.close();
  });

  it('says that nobody is there when TCP does not come up in time', async () => {
    const clock = new ManualClock();
    const { id, events } = await resolve(new IwarpTransport({ clock }), {
      host: '127.0.0.1',
      port: 9,
    });
    const endpoint = new Endpoint(id, events, defaultEndpointOptions);
    id.connect(endpoint.parameters);
    clock.advance(TCP_CONNECT_TIMEOUT_MS);
    expect((await events.next('unreachable')).reason).toMatch(/did not answer within 10000 ms/);
    await endpoint.close();
    expect(clock.armedCount).toBe(0);
  });

  it.each<[string, (peer: RawPeer) => void, RegExp]>([
    [
      'closes at once',
      (peer) => peer.socket.end(),
      /it closed the connection without its MPA reply/,
    ],
    ['resets', (peer) => void peer.socket.resetAndDestroy(), /ECONNRESET without its MPA reply/],
    [
      'speaks another protocol',
      (peer) => peer.write(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')),
      /do not start with "MPA ID Rep Frame"/,
    ],
    [
      'stops in the middle of its reply',
      (peer) => peer.socket.end(vectors.mpaReplyOfSiw.subarray(0, 22)),
      /in the middle of its MPA reply/,
    ],
    [
      'announces private data without end',
      (peer) => peer.write(mpaFrame({ kind: 'Rep', flags: 0x10, privateData: Buffer.alloc(600) })),
      /private data of 600 bytes/,
    ],
  ])('says that a peer that %s is not an iWARP peer', async (_name, act, reason) => {
    const { events, peer } = await calling();
    await peer.read(28);
    act(peer);
    const event = await events.next('connectError');
    expect(event.reason).toMatch(/^127\.0\.0\.1:\d+ is not an iWARP peer: /);
    expect(event.reason).toMatch(reason);
  });

  it('says that a peer that stays silent is not an iWARP peer', async () => {
    const clock = new ManualClock();
    const { events, peer } = await calling({ clock, mpaTimeoutMs: 700 });
    await peer.read(28);
    clock.advance(699);
    peer.write(vectors.mpaReplyOfSiw.subarray(0, 5));
    clock.advance(1);
    expect((await events.next('connectError')).reason).toMatch(/no MPA reply within 700 ms/);
    await peer.readToEnd();
  });

  it('hears a rejection of Linux soft-iWARP', async () => {
    const { endpoint, events, peer } = await calling();
    const receive = endpoint.receive(endpoint.register(16));
    peer.write(vectors.mpaRejectOfSiw);
    expect((await events.next('rejected')).privateData).toHaveLength(0);
    expect((await receive.completion).status).toBe('flushed');
    await peer.readToEnd();
  });

  it.each<[string, Omit<MpaFields, 'kind'>, RegExp, string | null]>([
    ['revision 1', { flags: 0, revision: 1 }, /revision 1/, null],
    ['markers', { flags: 0x90, depths: [1, 1] }, /markers/, null],
    ['more reads than we bear', { flags: 0x10, depths: [1, 500] }, /500 reads/, '20060000'],
    [
      'a ready-to-receive message',
      { flags: 0x10, depths: [0x8001, 0x8001] },
      /ready-to-receive/,
      '20070000',
    ],
  ])('does not take a reply with %s', async (_name, fields, reason, terminate) => {
    const { events, peer } = await calling();
    await peer.read(28);
    peer.write(mpaFrame({ kind: 'Rep', ...fields }));
    expect((await events.next('connectError')).reason).toMatch(reason);
    const { frames } = readFrames(await peer.readToEnd());
    expect(frames.map((frame) => frame.payload.toString('hex'))).toEqual(
      terminate === null ? [] : [terminate],
    );
  });

  it('turns CRCs on when the peer wants them', async () => {
    const { endpoint, events, peer } = await calling({ crc: 'off' });
    expect((await peer.read(28))[16]).toBe(0x10);
    peer.write(mpaFrame({ kind: 'Rep', flags: 0x50, depths: [1, 1] }));
    await events.next('established');
    endpoint.post(sendWork(endpoint.register(8), 0, 8));
    const { frames } = readFrames(await peer.read(32));
    expect(frames[0]?.crcIsRight).toBe(true);
  });

  it('resolves a name, and says what is wrong with what is not an address', async () => {
    const transport = new IwarpTransport();
    const { id } = await resolve(transport, { host: 'localhost', port: 9 });
    expect(id.peerName).toBe('localhost:9');
    id.destroy();
    for (const address of [
      { host: '', port: 1 },
      { host: '127.0.0.1', port: 0 },
    ]) {
      const events = new EventLog();
      const other = transport.createId(events.handler);
      other.resolveAddress(address, 1000);
      expect((await events.next('addressError')).reason).toMatch(/cannot be resolved/);
      other.destroy();
    }
  });

  it('gives up on a name that is not resolved in time', async () => {
    const clock = new ManualClock();
    const events = new EventLog();
    const id = new IwarpTransport({ clock }).createId(events.handler);
    id.resolveAddress({ host: 'localhost', port: 1 }, 300);
    clock.advance(300);
    expect((await events.next('addressError')).reason).toMatch(/within 300 ms/);
    id.destroy();
  });

  it('refuses FPDU sizes that cannot be', () => {
    for (const fpduBytes of [0, 511, 65_501, 1400.5, Number.NaN]) {
      expect(() => new IwarpTransport({ fpduBytes })).toThrow(ConfigError);
    }
  });
});
