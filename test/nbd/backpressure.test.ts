import { afterEach, describe, expect, it } from 'vitest';
import { CMD, parseSimpleReply, request } from '../support/nbd/client.js';
import type { NbdTestClient } from '../support/nbd/client.js';
import { NbdBed } from '../support/nbd/bed.js';
import type { NbdBedOptions } from '../support/nbd/bed.js';
import { settle, until } from '../support/waiting.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK = 64 * KIB;

let bed: NbdBed;

/** A server whose disk says everywhere where you are, and which has `count` slots of 64 KiB. */
function open(count: number, options: NbdBedOptions = {}): NbdBed {
  const classes = [{ slotBytes: BLOCK, slotsMax: count, slotsPerSlab: 1 }];
  bed = new NbdBed({ classes, ...options });
  for (let at = 0; at < MIB; at += 4) bed.device.bytes.writeUInt32BE(at, at);
  return bed;
}

afterEach(() => bed.dispose());

function read(index: number): Buffer {
  const offset = (index * BLOCK) % MIB;
  return request({ command: CMD.read, offset, length: BLOCK, cookie: BigInt(index) });
}

/** Takes the replies to `read(0 .. count)` in any order, and compares every byte. */
async function checkReads(client: NbdTestClient, count: number): Promise<void> {
  const seen = new Set<bigint>();
  for (let index = 0; index < count; index++) {
    const { error, cookie } = parseSimpleReply(await client.read(16));
    const data = await client.read(BLOCK);
    const offset = (Number(cookie) * BLOCK) % MIB;
    expect(error).toBe(0);
    expect(data.equals(bed.device.bytes.subarray(offset, offset + BLOCK))).toBe(true);
    seen.add(cookie);
  }
  expect(seen.size).toBe(count);
}

describe('a client that does not read', () => {
  const COUNT = 300;

  it('is held back with bounded memory, and a slot is not reused before its bytes left', async () => {
    // More data than the kernel takes: the replies wait in our process, in their slots. Were a slot given back when
    // its reply is written, the next read would overwrite bytes that have not left.
    open(4);
    const client = await bed.listenUnix().then((address) => bed.attach(address));
    client.socket.pause();
    for (let index = 0; index < COUNT; index++) client.send(read(index));
    await until(() => bed.counter('nbd_stalls_total', { export: 'disk' }) > 0);
    await settle();
    // Half of what there is: the other half is for others.
    expect(bed.pool.usedCount).toBe(2);
    expect(bed.device.seen.length).toBeLessThan(COUNT);
    client.socket.resume();
    await checkReads(client, COUNT);
    await until(() => bed.pool.usedCount === 0);
  });

  it('has no more requests started than its queue holds', async () => {
    open(64, { limits: { queuedBytesMax: 2 * BLOCK, inFlightMax: 8 } });
    const client = await bed.listenUnix().then((address) => bed.attach(address));
    client.socket.pause();
    for (let index = 0; index < COUNT; index++) client.send(read(index));
    await until(() => bed.counter('nbd_stalls_total', { export: 'disk' }) > 0);
    await settle();
    expect(bed.pool.usedCount).toBeLessThanOrEqual(8);
    client.socket.resume();
    await checkReads(client, COUNT);
  });

  it('is cut off after a while, and its buffers are free again', async () => {
    open(4, { limits: { stallMs: 1000 } });
    const client = await bed.listenUnix().then((address) => bed.attach(address));
    client.socket.pause();
    for (let index = 0; index < COUNT; index++) client.send(read(index));
    await until(() => bed.counter('nbd_stalls_total', { export: 'disk' }) > 0);
    await settle();
    bed.clock.advance(1000);
    bed.clock.advance(1000);
    await until(() => bed.server.connectionCount === 0);
    expect(bed.pool.usedCount).toBe(0);
  });
});

describe('clients that share few buffers', () => {
  it('all get all their data', async () => {
    open(3);
    const address = await bed.listenUnix();
    const clients = await Promise.all([1, 2, 3, 4].map(() => bed.attach(address)));
    for (let index = 0; index < 40; index++) for (const client of clients) client.send(read(index));
    await Promise.all(clients.map((client) => checkReads(client, 40)));
    await until(() => bed.pool.usedCount === 0);
    expect(bed.counter('nbd_stalls_total', { export: 'disk' })).toBeGreaterThan(0);
  });

  it('write all they have, each in step', async () => {
    open(2);
    const address = await bed.listenTcp();
    const clients = await Promise.all([0, 1, 2, 3].map(() => bed.attach(address)));
    await Promise.all(
      clients.map(async (client, who) => {
        for (let index = 0; index < 20; index++) {
          const data = Buffer.alloc(BLOCK, who * 20 + index + 1);
          client.send(request({ command: CMD.write, offset: who * 4 * BLOCK, data }));
        }
        for (let index = 0; index < 20; index++) expect((await client.simpleReply()).error).toBe(0);
      }),
    );
    for (const who of [0, 1, 2, 3]) {
      // Four turns of the same client may complete in any order, but each as a whole.
      const block = bed.device.bytes.subarray(who * 4 * BLOCK, who * 4 * BLOCK + BLOCK);
      expect(block.equals(Buffer.alloc(BLOCK, block[0]))).toBe(true);
      expect(block[0]).toBeGreaterThan(who * 20);
      expect(block[0]).toBeLessThanOrEqual(who * 20 + 20);
    }
    await until(() => bed.pool.usedCount === 0);
  });
});
