import { describe, expect, it } from 'vitest';
import {
  CMD,
  FAST_ZERO,
  FUA,
  NO_HOLE,
  PAYLOAD_LEN,
  REQ_ONE,
  extendedRequest,
  hex,
  request,
  u32,
  u64,
} from '../support/nbd/client.js';
import { Conversation } from '../support/nbd/conversation.js';
import { SIZE, TransmissionBed } from '../support/nbd/transmission-bed.js';
import { turn } from '../support/waiting.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const TIB = 2 ** 40;
const [EINVAL, ENOSPC, EOVERFLOW] = [22, 28, 75];
const EXTENDED = { replyStyle: 'extended', contexts: [1] } as const;
/** A disk of 8 TiB, of which nobody reads or writes anything. */
const HUGE = {
  info: { sizeBytes: 8 * TIB, trimBytesMax: 2 ** 52, writeZeroesBytesMax: 2 ** 52 },
};

function statusPayload(length: number | bigint, ...ids: number[]): Buffer {
  return Buffer.concat([u64(length), ...ids.map(u32)]);
}

describe('an extended reply', () => {
  it('to a READ is one piece, and repeats the request’s offset', () => {
    const bed = new TransmissionBed({ agreed: EXTENDED });
    bed.receive(extendedRequest({ command: CMD.read, offset: 0x200, length: 4, cookie: 9n }));
    bed.device.complete();
    expect(bed.sent[0]!.bytes).toEqual(
      Buffer.concat([
        hex('6e8a278c 0001 0001 0000000000000009 0000000000000200 000000000000000c'),
        hex('0000000000000200 00000200'),
      ]),
    );
  });

  it('to a success without data is a NONE of 32 bytes', () => {
    const bed = new TransmissionBed({ agreed: EXTENDED });
    bed.receive(extendedRequest({ command: CMD.trim, offset: 0x200, length: 512, cookie: 9n }));
    bed.device.complete();
    bed.flush();
    expect(bed.output).toEqual(
      hex('6e8a278c 0001 0000 0000000000000009 0000000000000200 0000000000000000'),
    );
  });

  it('to BLOCK_STATUS has 64-bit extents and their count', async () => {
    const bed = new TransmissionBed({ agreed: EXTENDED, ...HUGE });
    bed.receive(extendedRequest({ command: CMD.blockStatus, length: 5 * TIB, cookie: 9n }));
    await turn();
    bed.flush();
    expect(bed.output).toEqual(
      Buffer.concat([
        hex('6e8a278c 0001 0006 0000000000000009 0000000000000000 0000000000000018'),
        hex('00000001 00000001 0000050000000000 0000000000000000'),
      ]),
    );
  });

  it('to a refused request repeats an offset that is no exact number', () => {
    const bed = new TransmissionBed({ agreed: EXTENDED });
    const offset = 0xffff_ffff_ffff_ffffn;
    bed.receive(extendedRequest({ command: CMD.read, offset, length: 512 }));
    bed.flush();
    expect(bed.output.readBigUInt64BE(16)).toBe(offset);
    expect(bed.output.readUInt32BE(32)).toBe(EINVAL);
  });
});

describe('an extended request', () => {
  it('may have a length above 2^32 where it has no payload', () => {
    const bed = new TransmissionBed({ agreed: EXTENDED, ...HUGE });
    const length = 5 * TIB + 512;
    for (const command of [CMD.trim, CMD.writeZeroes, CMD.cache]) {
      bed.receive(extendedRequest({ command, offset: TIB, length }));
    }
    expect(bed.device.seen.map((seen) => [seen.op, seen.offset, seen.length])).toEqual([
      [3, TIB, length],
      [4, TIB, length],
      [5, TIB, length],
    ]);
  });

  it('carries the flags of its command', () => {
    const bed = new TransmissionBed({ agreed: EXTENDED });
    const flags = NO_HOLE | FAST_ZERO | FUA;
    bed.receive(extendedRequest({ command: CMD.writeZeroes, length: 512, flags }));
    expect(bed.device.seen[0]).toMatchObject({
      noHole: true,
      fastOnly: true,
      forceUnitAccess: true,
    });
  });

  it('past the end or above 2^53 gets the error of its command', async () => {
    const client = new Conversation('extended');
    const ask = (command: number, length: bigint) => client.call({ command, length });
    for (const length of [BigInt(SIZE + 1), 1n << 53n, 1n << 63n, (1n << 64n) - 1n]) {
      expect((await ask(CMD.trim, length)).error).toBe(EINVAL);
      expect((await ask(CMD.cache, length)).error).toBe(EINVAL);
      expect((await ask(CMD.read, length)).error).toBe(EINVAL);
      expect((await ask(CMD.blockStatus, length)).error).toBe(EINVAL);
      expect((await ask(CMD.writeZeroes, length)).error).toBe(ENOSPC);
      expect((await ask(CMD.flush, length)).error).toBe(EINVAL);
    }
  });

  it('too long for a device that does not split gets EOVERFLOW', async () => {
    const client = new Conversation('extended', { info: { trimBytesMax: 64 * KIB } });
    expect((await client.call({ command: CMD.trim, length: SIZE })).error).toBe(EOVERFLOW);
  });

  it('to write is followed by its data, with PAYLOAD_LEN and without it, which is counted', async () => {
    const client = new Conversation('extended');
    const missing = () => client.bed.counter('nbd_unflagged_writes_total');
    const write = (fill: number, flags: number) =>
      client.call({ command: CMD.write, data: Buffer.alloc(512, fill), flags });
    expect((await write(0xab, PAYLOAD_LEN)).error).toBe(0);
    expect(client.bed.device.bytes[511]).toBe(0xab);
    expect(missing()).toBe(0);
    expect((await write(0xcd, 0)).error).toBe(0);
    expect((await write(0xef, FUA)).error).toBe(0);
    expect(client.bed.device.bytes[511]).toBe(0xef);
    expect(client.bed.device.seen.at(-1)).toMatchObject({ length: 512, forceUnitAccess: true });
    expect(missing()).toBe(2);
    expect((await client.call({ command: CMD.read, length: 512 })).error).toBe(0);
  });

  it('with a payload that its command has no use for is refused once that is skipped', async () => {
    const client = new Conversation('extended');
    const data = Buffer.alloc(1000, 0x25);
    for (const command of [CMD.read, CMD.flush, CMD.trim, CMD.cache, CMD.writeZeroes, 8, 77]) {
      expect((await client.call({ command, data, flags: PAYLOAD_LEN })).error).toBe(EINVAL);
    }
    expect((await client.call({ command: CMD.read, length: 512 })).error).toBe(0);
  });

  it('with a refused payload above the maximum ends the connection, and below is skipped', () => {
    const bed = new TransmissionBed({ agreed: EXTENDED });
    const flags = PAYLOAD_LEN;
    bed.receive(extendedRequest({ command: CMD.trim, length: 32 * MIB, flags }));
    expect(bed.violation).toBeNull();
    for (const length of [32 * MIB + 1, 2 ** 40, (1n << 64n) - 1n]) {
      const other = new TransmissionBed({ agreed: EXTENDED });
      other.receive(extendedRequest({ command: CMD.write, length, flags }));
      expect(other.violation?.code).toBe('nbd-write-length');
    }
  });

  it('is the only one: a compact one ends the connection, and so does an extended one elsewhere', () => {
    const bed = new TransmissionBed({ agreed: EXTENDED });
    bed.receive(request({ command: CMD.read, length: 4 }), Buffer.alloc(4));
    expect(bed.violation?.code).toBe('nbd-request-magic');
    const compact = new TransmissionBed({ agreed: { replyStyle: 'structured', contexts: [] } });
    compact.receive(extendedRequest({ command: CMD.read, length: 4 }));
    expect(compact.violation?.code).toBe('nbd-request-magic');
  });

  it('PAYLOAD_LEN is an unknown flag of a compact request', async () => {
    const client = new Conversation('structured');
    const data = Buffer.alloc(512);
    const write = { command: CMD.write, data, flags: PAYLOAD_LEN };
    expect((await client.call(write)).error).toBe(EINVAL);
    const status = { command: CMD.blockStatus, length: 512, flags: PAYLOAD_LEN };
    expect((await client.call(status)).error).toBe(EINVAL);
  });
});

describe('BLOCK_STATUS with a payload', () => {
  const ask = (client: Conversation, data: Buffer, length: bigint, flags = PAYLOAD_LEN) =>
    client.call({ command: CMD.blockStatus, offset: 512, data, flags }, length);

  it('has its length there, and the contexts that are wanted', async () => {
    const client = new Conversation('extended');
    const { error, extents } = await ask(client, statusPayload(4096, 1), 4096n);
    expect({ error, extents }).toEqual({ error: 0, extents: [{ length: 4096n, flags: 0n }] });
  });

  it('may ask for one extent', async () => {
    const client = new Conversation('extended', { info: { canFindZeroes: true } });
    const data = statusPayload(4096, 1);
    expect((await ask(client, data, 4096n, PAYLOAD_LEN | REQ_ONE)).extents).toHaveLength(1);
  });

  it.each([
    ['an unknown context', statusPayload(4096, 2)],
    ['a context twice', statusPayload(4096, 1, 1)],
    ['no context', statusPayload(4096)],
    ['half a context', Buffer.concat([statusPayload(4096), Buffer.alloc(3)])],
    ['half a length', Buffer.alloc(4)],
    ['a length of 0', statusPayload(0, 1)],
    ['a range past the end', statusPayload(SIZE, 1)],
    ['a length above 2^53', statusPayload(1n << 60n, 1)],
    ['many contexts', statusPayload(4096, ...Array.from({ length: 1000 }, (_, id) => id))],
  ])('and %s gets EINVAL once it is read', async (_what, data) => {
    const client = new Conversation('extended');
    // What an earlier request has left behind must not count as part of this one.
    expect((await ask(client, statusPayload(4096, 1), 4096n)).error).toBe(0);
    expect((await ask(client, data, 4096n)).error).toBe(EINVAL);
    expect((await client.call({ command: CMD.read, length: 512 })).error).toBe(0);
    expect(client.bed.pool.usedCount).toBe(0);
  });
});
