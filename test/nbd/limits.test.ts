import { afterEach, describe, expect, it } from 'vitest';
import { REFUSAL_MS } from '../../src/nbd/limits.js';
import { CMD, OPT, option, request } from '../support/nbd/client.js';
import type { NbdTestClient } from '../support/nbd/client.js';
import { NbdBed } from '../support/nbd/bed.js';
import type { NbdBedOptions } from '../support/nbd/bed.js';
import type { NbdAddress } from '../../src/nbd/socket.js';
import { settle, until } from '../support/waiting.js';

const KIB = 1024;
const MIB = 1024 * KIB;

let bed: NbdBed;

function open(options: NbdBedOptions = {}): NbdBed {
  bed = new NbdBed(options);
  return bed;
}

afterEach(() => bed.dispose());

describe('the limit on connections of one address', () => {
  it('is for TCP, and refuses what comes above it', async () => {
    open({ limits: { connectionsPerAddressMax: 2 } });
    const tcp = await bed.listenTcp();
    const unix = await bed.listenUnix();
    const first = await bed.attach(tcp);
    await bed.attach(tcp);
    await expect(bed.attach(tcp)).rejects.toThrow('GO was refused');
    expect(bed.counter('nbd_connections_refused_total')).toBe(1);
    for (let count = 0; count < 3; count++) await bed.attach(unix);
    await first.close();
    await until(() => bed.server.connectionCount === 4);
    const again = await bed.attach(tcp);
    expect(await again.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });
});

describe('idle sockets (CVE-2024-7409)', () => {
  it('are refused above the limit and gone after the deadline, and clients at work are not', async () => {
    open({ limits: { connectionsMax: 20, handshakeMs: 1000 } });
    const address = await bed.listenUnix();
    const good = await bed.attach(address);
    const idle: NbdTestClient[] = [];
    for (let count = 0; count < 40; count++) idle.push(await bed.connect(address));
    await until(() => bed.counter('nbd_connections_refused_total') === 21);
    expect(bed.server.connectionCount).toBe(20);
    expect(await good.call({ command: CMD.flush })).toMatchObject({ error: 0 });
    bed.clock.advance(REFUSAL_MS);
    await Promise.all(idle.map((client) => client.ended));
    await until(() => bed.server.connectionCount === 1);
    const next = await bed.attach(address);
    expect(await next.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('hold the server’s end up no longer than clients in a handshake may', async () => {
    open({ limits: { handshakeDrainMs: 500 } });
    const address = await bed.listenUnix();
    const idle = await bed.connect(address);
    await idle.greet();
    idle.send(option(OPT.list));
    await idle.optionReplies();
    const closing = bed.server.close({ drainMs: 10_000 });
    await settle();
    bed.clock.advance(500);
    await closing;
  });
});

describe('a client that does not give its buffers back', () => {
  const classes = [{ slotBytes: 64 * KIB, slotsMax: 8, slotsPerSlab: 1 }];
  const read = request({ command: CMD.read, length: 64 * KIB });

  it('holds nobody up but itself: who does not read', async () => {
    open({ classes });
    const address = await bed.listenUnix();
    const hogs = await Promise.all([bed.attach(address), bed.attach(address)]);
    for (const hog of hogs) {
      hog.socket.pause();
      for (let count = 0; count < 100; count++) hog.send(read);
    }
    await settle();
    expect(bed.pool.usedCount).toBeLessThan(8);
    const other = await bed.attach(address);
    for (let count = 0; count < 20; count++) {
      expect(await other.call({ command: CMD.read, length: 64 * KIB })).toMatchObject({ error: 0 });
    }
  });

  it('holds nobody up but itself: whose device does not answer', async () => {
    open({ classes });
    const address = await bed.listenUnix();
    const hog = await bed.attach(address);
    bed.device.holds = true;
    for (let count = 0; count < 100; count++) hog.send(read);
    await settle();
    expect(bed.device.held.length).toBe(3);
    bed.device.holds = false;
    const other = await bed.attach(address);
    expect(await other.call({ command: CMD.read, length: 64 * KIB })).toMatchObject({ error: 0 });
  });

  it('holds nobody up but itself: who begins the largest writes and does not go on', async () => {
    open();
    const address = await bed.listenUnix();
    const hog = await bed.attach(address);
    const write = request({ command: CMD.write, length: 512 * KIB, data: Buffer.alloc(100) });
    hog.send(write);
    await until(() => bed.pool.usedCount === 1);
    const other = await bed.attach(address);
    const data = Buffer.alloc(512 * KIB, 1);
    expect(await other.call({ command: CMD.write, data })).toMatchObject({ error: 0 });
  });

  it('has a bound in bytes of its own', async () => {
    open({ limits: { inFlightBytesMax: MIB } });
    const hog = await bed.listenUnix().then((address) => bed.attach(address));
    bed.device.holds = true;
    for (let count = 0; count < 20; count++) {
      hog.send(request({ command: CMD.read, length: 200 * KIB, cookie: BigInt(count) }));
    }
    await settle();
    // Each takes a slot of 256 KiB.
    expect(bed.device.held.length).toBe(4);
    bed.device.holds = false;
    bed.device.completeAll();
    for (let count = 0; count < 20; count++) {
      expect((await hog.simpleReply()).error).toBe(0);
      await hog.read(200 * KIB);
    }
  });

  it('is cut off soon when others wait for them, and late when nobody does', async () => {
    const few = [{ slotBytes: 64 * KIB, slotsMax: 1, slotsPerSlab: 1 }];
    open({ classes: few, limits: { stallMs: 60_000, contendedStallMs: 1000 } });
    const address = await bed.listenUnix();
    const stuck = await bed.attach(address);
    stuck.send(request({ command: CMD.write, length: 64 * KIB, data: Buffer.alloc(100) }));
    await until(() => bed.pool.usedCount === 1);
    for (let period = 0; period < 5; period++) bed.clock.advance(1000);
    expect(bed.pool.usedCount).toBe(1);
    const other = await bed.attach(address);
    other.send(read);
    await until(() => bed.counter('nbd_stalls_total', { export: 'disk' }) > 0);
    bed.clock.advance(1000);
    await stuck.ended;
    expect((await other.simpleReply()).error).toBe(0);
    await other.read(64 * KIB);
  });
});

describe('many clients of one address that do not give their buffers back', () => {
  const classes = [
    { slotBytes: 4 * KIB, slotsMax: 64, slotsPerSlab: 64 },
    { slotBytes: 64 * KIB, slotsMax: 32, slotsPerSlab: 32 },
  ];
  const read = request({ command: CMD.read, length: 64 * KIB });
  const beginning = request({ command: CMD.write, length: 64 * KIB, data: Buffer.alloc(100) });
  const from = (localAddress: string, where: NbdAddress): Promise<NbdTestClient> =>
    bed.attach({ ...where, localAddress });

  /** 48 clients of 127.0.0.1: half leave what they asked for, half stop within a write. */
  async function hogs(where: NbdAddress): Promise<void> {
    const before = bed.counter('nbd_stalls_total', { export: 'disk' });
    for (let count = 0; count < 24; count++) {
      const reader = await bed.attach(where);
      reader.socket.pause();
      for (let index = 0; index < 100; index++) reader.send(read);
      const writer = await bed.attach(where);
      writer.send(beginning);
    }
    await until(() => bed.counter('nbd_stalls_total', { export: 'disk' }) >= before + 40);
  }

  async function worksAt(client: NbdTestClient): Promise<void> {
    for (let count = 0; count < 20; count++) {
      expect(await client.call({ command: CMD.read, length: 64 * KIB })).toMatchObject({
        error: 0,
      });
      const data = Buffer.alloc(64 * KIB, count);
      expect(await client.call({ command: CMD.write, data })).toMatchObject({ error: 0 });
    }
  }

  it('hold nobody up who comes from another, late or early', async () => {
    open({ classes, limits: { stallMs: 60_000 } });
    const tcp = await bed.listenTcp();
    const unix = await bed.listenUnix();
    const early = await from('127.0.0.2', tcp);
    await hogs(tcp);
    await worksAt(early);
    await worksAt(await from('127.0.0.3', tcp));
    await worksAt(await bed.attach(unix));
  });

  it('nor who comes from the same, and is known to go on', async () => {
    open({ classes, limits: { stallMs: 60_000 } });
    const address = await bed.listenTcp();
    const good = await bed.attach(address);
    for (let count = 0; count < 2; count++) {
      await worksAt(good);
      bed.clock.advance(1000);
    }
    await hogs(address);
    await worksAt(good);
  });

  it('hold up a new one of the same address until it is their turn to be cut off', async () => {
    open({ classes, limits: { stallMs: 60_000, contendedStallMs: 5000 } });
    const address = await bed.listenTcp();
    await hogs(address);
    const late = await bed.attach(address);
    late.send(read);
    let seconds = 0;
    const reply = late.read(16 + 64 * KIB).then(() => (seconds = -seconds));
    for (; seconds >= 0 && seconds < 60; seconds++) {
      await settle();
      bed.clock.advance(1000);
    }
    await reply;
  });
});
