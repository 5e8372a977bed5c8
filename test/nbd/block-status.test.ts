import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockStatus } from '../../src/block/device.js';
import { boundExtents } from '../../src/nbd/block-status.js';
import { CMD, FUA, REQ_ONE, hex, request } from '../support/nbd/client.js';
import { Conversation } from '../support/nbd/conversation.js';
import { SIZE, TransmissionBed } from '../support/nbd/transmission-bed.js';
import { turn } from '../support/waiting.js';

const KIB = 1024;
const [EIO, EINVAL] = [5, 22];
const THIN = { info: { canFindZeroes: true } };
const DATA = 0n;
const HOLE_AND_ZERO = 3n;

describe('BLOCK_STATUS', () => {
  it('tells what is allocated and what reads as zeroes, neighbours joined', async () => {
    const client = new Conversation('structured', THIN);
    client.bed.device.bytes.fill(0, 8 * KIB, 16 * KIB);
    const { extents } = await client.call({ command: CMD.blockStatus, length: 24 * KIB });
    expect(extents).toEqual([
      { length: BigInt(8 * KIB), flags: DATA },
      { length: BigInt(8 * KIB), flags: HOLE_AND_ZERO },
      { length: BigInt(8 * KIB), flags: DATA },
    ]);
  });

  it('has these bytes', async () => {
    const agreed = { replyStyle: 'structured', contexts: [1] } as const;
    const bed = new TransmissionBed({ agreed, ...THIN });
    bed.device.bytes.fill(0, 512, 1024);
    bed.receive(request({ command: CMD.blockStatus, length: 1024, cookie: 5n }));
    await turn();
    bed.flush();
    expect(bed.output).toEqual(
      hex(
        '668e33ef 0001 0005 0000000000000005 00000014 00000001' +
          '00000200 00000000 00000200 00000003',
      ),
    );
    expect(bed.pool.usedCount).toBe(0);
  });

  it('with REQ_ONE has one extent, and takes no buffer', async () => {
    const client = new Conversation('structured', { ...THIN, classes: [] });
    client.bed.device.bytes.fill(0, 0, 4 * KIB);
    const fields = { command: CMD.blockStatus, length: 64 * KIB, flags: REQ_ONE };
    expect((await client.call(fields)).extents).toEqual([
      { length: BigInt(4 * KIB), flags: HOLE_AND_ZERO },
    ]);
  });

  it('has no more extents than the limit, and the client asks again from there', async () => {
    const client = new Conversation('structured', { ...THIN, limits: { extentsMax: 10 } });
    for (let at = 0; at < SIZE; at += 1024) client.bed.device.bytes.fill(0, at, at + 512);
    const { extents } = await client.call({ command: CMD.blockStatus, length: SIZE });
    expect(extents).toHaveLength(10);
  });

  it('may carry FUA, and no flag of other commands', async () => {
    const client = new Conversation('structured', THIN);
    const ask = (flags: number) => client.call({ command: CMD.blockStatus, length: 512, flags });
    expect((await ask(FUA | REQ_ONE)).error).toBe(0);
    for (const flags of [2, 4, 16, 32, 64]) expect((await ask(flags)).error).toBe(EINVAL);
  });

  it('past the end, or of nothing, is EINVAL', async () => {
    const client = new Conversation('structured', THIN);
    const ask = (offset: number, length: number) =>
      client.call({ command: CMD.blockStatus, offset, length });
    expect((await ask(SIZE - 512, 1024)).error).toBe(EINVAL);
    expect((await ask(0, 0)).error).toBe(EINVAL);
    expect((await ask(SIZE - 512, 512)).error).toBe(0);
  });

  it('that the device cannot answer is EIO', async () => {
    const client = new Conversation('structured', THIN);
    client.bed.device.status = BlockStatus.ioError;
    expect((await client.call({ command: CMD.blockStatus, length: 512 })).error).toBe(EIO);
    expect(client.bed.pool.usedCount).toBe(0);
  });

  it('of a lost connection gives its buffer back', async () => {
    const client = new Conversation('structured', THIN);
    client.ask({ command: CMD.blockStatus, length: 512 });
    expect(client.bed.pool.usedCount).toBe(1);
    client.bed.transmission.abort();
    await turn();
    expect(client.bed.sent).toEqual([]);
    expect(client.bed.pool.usedCount).toBe(0);
    expect(client.bed.idleCount).toBe(1);
  });

  it('without a selected context is EINVAL', () => {
    const bed = new TransmissionBed({ agreed: { replyStyle: 'structured', contexts: [] } });
    bed.receive(request({ command: CMD.blockStatus, length: 512 }));
    bed.flush();
    expect(bed.output.readUInt16BE(6)).toBe(0x8001);
    expect(bed.output.readUInt32BE(20)).toBe(EINVAL);
  });
});

describe('the extents of a reply', () => {
  const extent = fc.record({ lengthBytes: fc.nat(2000), hole: fc.boolean(), zero: fc.boolean() });

  it('are at least one and at most the limit, never empty, never longer than asked, all different', () => {
    fc.assert(
      fc.property(
        fc.array(extent, { maxLength: 30 }),
        fc.integer({ min: 1, max: 20_000 }),
        fc.integer({ min: 1, max: 10 }),
        (extents, lengthBytes, countMax) => {
          const bounded = boundExtents(extents, lengthBytes, countMax);
          expect(bounded.length).toBeGreaterThanOrEqual(1);
          expect(bounded.length).toBeLessThanOrEqual(countMax);
          let sum = 0;
          for (const [index, { lengthBytes: bytes, hole, zero }] of bounded.entries()) {
            expect(bytes).toBeGreaterThan(0);
            sum += bytes;
            const last = bounded[index - 1];
            if (last !== undefined) expect([last.hole, last.zero]).not.toEqual([hole, zero]);
          }
          expect(sum).toBeLessThanOrEqual(lengthBytes);
        },
      ),
    );
  });

  it('count as allocated where the device says nothing', () => {
    expect(boundExtents([], 512, 4)).toEqual([{ lengthBytes: 512, hole: false, zero: false }]);
  });
});
