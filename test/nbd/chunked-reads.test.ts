import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockStatus } from '../../src/block/device.js';
import { CMD } from '../support/nbd/client.js';
import { Conversation } from '../support/nbd/conversation.js';
import { SIZE, slots } from '../support/nbd/transmission-bed.js';
import { turn } from '../support/waiting.js';

const KIB = 1024;
const EIO = 5;
const LIMITS = { readChunkBytes: 8 * KIB, readHoleBytesMin: 4 * KIB };

describe('a long READ', () => {
  it('is answered in pieces as they arrive, the last of which says so', () => {
    const client = new Conversation('structured', { limits: LIMITS });
    const { bed, decoder } = client;
    const cookie = client.ask({ command: CMD.read, offset: 4 * KIB, length: 20 * KIB });
    expect(bed.device.held.map(({ offset, length }) => [offset, length])).toEqual([
      [4 * KIB, 4 * KIB],
      [8 * KIB, 8 * KIB],
      [16 * KIB, 8 * KIB],
    ]);
    bed.device.complete(1);
    expect(bed.sent).toHaveLength(1);
    expect(bed.sent[0]!.bytes.readUInt16BE(4)).toBe(0);
    bed.device.complete(1);
    client.flush();
    expect(decoder.answers).toEqual([]);
    bed.device.complete();
    expect(bed.sent[0]!.bytes.readUInt16BE(4)).toBe(1);
    client.flush();
    const answer = decoder.take(cookie)!;
    expect(answer.chunks.map(({ offset }) => Number(offset) / KIB)).toEqual([8, 16, 4]);
    expect(answer.data.equals(bed.device.bytes.subarray(4 * KIB, 24 * KIB))).toBe(true);
    expect(bed.pool.usedCount).toBe(0);
    expect(bed.transmission.inFlightCount).toBe(0);
  });

  it('of one chunk’s length is one chunk', () => {
    const client = new Conversation('structured', { limits: LIMITS });
    client.ask({ command: CMD.read, offset: 100, length: 8 * KIB });
    expect(client.bed.device.held).toHaveLength(1);
  });

  it('may be longer than the maximum payload, and needs no more memory than there is', async () => {
    const client = new Conversation('structured', { classes: slots(2, 8 * KIB), limits: LIMITS });
    const { data } = await client.call({ command: CMD.read, length: SIZE });
    expect(data.equals(client.bed.device.bytes)).toBe(true);
    expect(client.bed.pool.allocatedBytes).toBeLessThan(20 * KIB);
  });

  it('holds back the requests behind it until it is on its way, and not a disconnect', async () => {
    const client = new Conversation('structured', { classes: slots(2, 8 * KIB), limits: LIMITS });
    const { bed, decoder } = client;
    const long = client.ask({ command: CMD.read, length: 64 * KIB });
    const short = client.ask({ command: CMD.read, offset: 512, length: 512 });
    expect(bed.isPaused).toBe(true);
    await client.settle();
    expect(bed.isPaused).toBe(false);
    expect(decoder.take(long)?.error).toBe(0);
    expect(decoder.take(short)?.data.readUInt32BE(0)).toBe(512);
  });

  it('does not go on while the client leaves its replies', () => {
    const client = new Conversation('structured', {
      limits: { ...LIMITS, queuedBytesMax: 16 * KIB },
    });
    const { bed } = client;
    client.ask({ command: CMD.read, length: 16 * KIB });
    bed.device.completeAll();
    client.ask({ command: CMD.read, length: 64 * KIB });
    expect(bed.device.held).toHaveLength(0);
    client.flush();
    expect(bed.device.held.length).toBeGreaterThan(0);
  });

  it('has no more chunks under way than the limit', () => {
    const client = new Conversation('structured', { limits: { ...LIMITS, readChunksMax: 3 } });
    client.ask({ command: CMD.read, length: 128 * KIB });
    expect(client.bed.device.held).toHaveLength(3);
    client.bed.device.complete();
    expect(client.bed.device.held).toHaveLength(2);
    client.flush();
    expect(client.bed.device.held).toHaveLength(3);
  });

  it('that fails in one piece tells where, keeps the others, and starts no more', async () => {
    const client = new Conversation('structured', { limits: { ...LIMITS, readChunksMax: 3 } });
    const { bed, decoder } = client;
    const cookie = client.ask({ command: CMD.read, length: 128 * KIB });
    bed.device.complete(1, BlockStatus.ioError);
    await client.settle();
    const answer = decoder.take(cookie)!;
    expect(answer.error).toBe(EIO);
    expect(answer.chunks).toEqual([
      { type: 0x8002, offset: BigInt(8 * KIB), length: 0n },
      { type: 1, offset: 0n, length: BigInt(8 * KIB) },
      { type: 1, offset: BigInt(16 * KIB), length: BigInt(8 * KIB) },
    ]);
    expect(bed.counter('nbd_errors_total')).toBe(1);
    expect((await client.call({ command: CMD.read, length: 64 * KIB })).error).toBe(0);
  });

  it('is answered whole when the server stops before all of it is on its way', async () => {
    const client = new Conversation('structured', { limits: { ...LIMITS, readChunksMax: 2 } });
    const cookie = client.ask({ command: CMD.read, length: 64 * KIB });
    client.bed.transmission.drain();
    await client.settle();
    const answer = client.decoder.take(cookie)!;
    expect(answer.error).toBe(0);
    expect(answer.data.equals(client.bed.device.bytes.subarray(0, 64 * KIB))).toBe(true);
    expect(client.bed.idleCount).toBe(1);
  });

  it('of a lost connection gives every buffer back', async () => {
    const client = new Conversation('structured', { classes: slots(4, 8 * KIB), limits: LIMITS });
    const { bed } = client;
    client.ask({ command: CMD.read, length: 128 * KIB });
    bed.device.complete();
    bed.transmission.abort();
    bed.device.completeAll();
    for (const { owner } of bed.sent.splice(0)) owner.flushed();
    await client.settle();
    expect(bed.pool.usedCount).toBe(0);
    expect(bed.transmission.inFlightCount).toBe(0);
    expect(bed.idleCount).toBe(1);
  });
});

describe('holes', () => {
  const thin = { info: { canFindZeroes: true }, limits: LIMITS };

  it('are sent as such where the device can find them, and not read', async () => {
    const client = new Conversation('structured', thin);
    const { device } = client.bed;
    device.bytes.fill(0, 16 * KIB, 40 * KIB);
    const cookie = client.ask({ command: CMD.read, length: 64 * KIB });
    await turn();
    const readBytes = device.held.reduce((sum, { length }) => sum + length, 0);
    expect(readBytes).toBe(40 * KIB);
    await client.settle();
    const answer = client.decoder.take(cookie)!;
    expect(answer.data.equals(device.bytes.subarray(0, 64 * KIB))).toBe(true);
    expect(answer.chunks.filter(({ type }) => type === 2)).toEqual([
      { type: 2, offset: BigInt(16 * KIB), length: BigInt(24 * KIB) },
    ]);
    expect(device.queries).toEqual([{ offset: 0, lengthBytes: 64 * KIB }]);
  });

  it('may be all that there is', async () => {
    const client = new Conversation('extended', thin);
    client.bed.device.bytes.fill(0);
    const { chunks } = await client.call({ command: CMD.read, length: SIZE });
    expect(chunks).toEqual([{ type: 2, offset: 0n, length: BigInt(SIZE) }]);
    expect(client.bed.device.seen).toEqual([]);
  });

  it('are not looked for in short READs, nor where the device cannot find them', async () => {
    const client = new Conversation('structured', thin);
    await client.call({ command: CMD.read, length: 8 * KIB });
    expect(client.bed.device.queries).toEqual([]);
    const thick = new Conversation('structured', { limits: LIMITS });
    await thick.call({ command: CMD.read, length: 64 * KIB });
    expect(thick.bed.device.queries).toEqual([]);
  });

  it('that are small are read with their surroundings', async () => {
    const client = new Conversation('structured', thin);
    client.bed.device.bytes.fill(0, 4 * KIB, 6 * KIB);
    const { chunks } = await client.call({ command: CMD.read, length: 16 * KIB });
    expect(chunks.map(({ type }) => type)).toEqual([1, 1]);
  });

  it('are asked for again where the first answer ends', async () => {
    const client = new Conversation('structured', thin);
    const { device } = client.bed;
    device.extentsMax = 32;
    device.bytes.fill(0, 32 * KIB);
    const { data } = await client.call({ command: CMD.read, length: 64 * KIB });
    expect(data.equals(device.bytes.subarray(0, 64 * KIB))).toBe(true);
    expect(device.queries).toHaveLength(4);
  });

  it('that nobody can tell of are read', async () => {
    const client = new Conversation('structured', thin);
    client.bed.device.status = BlockStatus.ioError;
    expect((await client.call({ command: CMD.read, length: 64 * KIB })).error).toBe(EIO);
    client.bed.device.status = BlockStatus.ok;
    client.bed.device.extentsMax = 0;
    expect((await client.call({ command: CMD.read, length: 64 * KIB })).error).toBe(0);
  });
});

describe('any READs in any order of completion', () => {
  const read = fc
    .tuple(fc.nat(SIZE - 1), fc.nat(80 * KIB))
    .map(([offset, length]) => ({ offset, length: Math.min(length, SIZE - offset) }));

  it.each(['simple', 'structured', 'extended'] as const)('come out right, %s', async (style) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(read, { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (reads, picks, canFindZeroes) => {
          const info = { canFindZeroes };
          const limits = { ...LIMITS, readChunksMax: 4, queuedBytesMax: 24 * KIB };
          const classes = slots(6, 80 * KIB);
          const client = new Conversation(style, { info, limits, classes });
          const { bed, decoder } = client;
          bed.device.bytes.fill(0, 30 * KIB, 70 * KIB);
          const asked = reads.map(({ offset, length }) => ({
            cookie: client.ask({ command: CMD.read, offset, length }),
            expected: bed.device.bytes.subarray(offset, offset + length),
          }));
          for (const pick of picks) {
            await turn();
            if (bed.device.held.length > 0) bed.device.complete(pick % bed.device.held.length);
            if (pick % 3 === 0) client.flush(1);
          }
          await client.settle();
          for (const { cookie, expected } of asked) {
            expect(decoder.take(cookie)?.data.equals(expected)).toBe(true);
          }
          expect(bed.pool.usedCount).toBe(0);
          expect(bed.transmission.inFlightCount).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});
