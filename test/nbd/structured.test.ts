import { describe, expect, it } from 'vitest';
import { BlockStatus } from '../../src/block/device.js';
import { CMD, DF, FAST_ZERO, hex, request } from '../support/nbd/client.js';
import { Conversation } from '../support/nbd/conversation.js';
import { TransmissionBed } from '../support/nbd/transmission-bed.js';

const KIB = 1024;
const [EIO, EINVAL, ENOSPC, ENOTSUP, EOVERFLOW] = [5, 22, 28, 95, 75];
const STRUCTURED = { replyStyle: 'structured', contexts: [] } as const;

describe('a structured reply', () => {
  it('to a READ is one piece: header, offset and data', () => {
    const bed = new TransmissionBed({ agreed: STRUCTURED });
    bed.receive(
      request({ command: CMD.read, offset: 0x100, length: 8, cookie: 0x1122334455667788n }),
    );
    bed.device.complete();
    expect(bed.sent).toHaveLength(1);
    expect(bed.sent[0]!.bytes).toEqual(
      hex('668e33ef 0001 0001 1122334455667788 00000010 0000000000000100 0000010000000104'),
    );
  });

  it('to anything else that succeeds is a NONE', () => {
    const bed = new TransmissionBed({ agreed: STRUCTURED });
    bed.receive(request({ command: CMD.write, data: Buffer.alloc(4), cookie: 7n }));
    bed.device.complete();
    bed.flush();
    expect(bed.output).toEqual(hex('668e33ef 0001 0000 0000000000000007 00000000'));
  });

  it('to a READ of nothing is a NONE, for a data chunk has at least a byte', () => {
    const bed = new TransmissionBed({ agreed: STRUCTURED });
    bed.receive(request({ command: CMD.read, offset: 512, length: 0 }));
    bed.flush();
    expect(bed.output).toEqual(hex('668e33ef 0001 0000 0000000000000000 00000000'));
  });

  it('to a refused request says in words what is wrong', () => {
    const bed = new TransmissionBed({ agreed: STRUCTURED });
    bed.receive(request({ command: 99, cookie: 3n }));
    bed.flush();
    expect(bed.output.subarray(0, 26)).toEqual(
      hex('668e33ef 0001 8001 0000000000000003 0000002b 00000016 0025'),
    );
    expect(bed.output.toString('utf8', 26)).toBe('this server does not know the command');
  });

  it('is an error chunk for a READ that is refused early, never a simple reply', async () => {
    const { error, message } = await new Conversation('structured').call({
      command: CMD.read,
      length: 8,
      flags: 0x8000,
    });
    expect(error).toBe(EINVAL);
    expect(message).toMatch(/flag/);
  });

  it('to a READ that fails has no data before the error', async () => {
    const client = new Conversation('structured');
    client.bed.device.status = BlockStatus.ioError;
    const { error, chunks, message } = await client.call({ command: CMD.read, length: 4096 });
    expect({ error, chunks }).toEqual({ error: EIO, chunks: [] });
    expect(message).toMatch(/device failed/);
  });

  it('carries every error that there is', async () => {
    const cases = [
      [{ command: CMD.write, offset: 2 ** 40, data: Buffer.alloc(8) }, ENOSPC],
      [{ command: CMD.read, offset: 2 ** 40, length: 8 }, EINVAL],
      [{ command: CMD.blockStatus, length: 0 }, EINVAL],
      [{ command: CMD.writeZeroes, length: 256 * KIB, flags: FAST_ZERO }, ENOTSUP],
      [{ command: CMD.writeZeroes, length: 256 * KIB }, EOVERFLOW],
    ] as const;
    const client = new Conversation('structured', { info: { writeZeroesBytesMax: 64 * KIB } });
    for (const [fields, errno] of cases) expect((await client.call(fields)).error).toBe(errno);
  });

  it('keeps step behind a refused write, whose payload is skipped', async () => {
    const client = new Conversation('structured');
    const refused = client.ask({ command: CMD.write, offset: 2 ** 40, data: Buffer.alloc(1000) });
    expect((await client.call({ command: CMD.read, length: 4 })).error).toBe(0);
    expect(client.decoder.take(refused)?.error).toBe(ENOSPC);
  });
});

describe('a READ that must not be fragmented', () => {
  it('has one content chunk however long it is, zeroes and all', async () => {
    const client = new Conversation('structured', {
      info: { canFindZeroes: true },
      limits: { readChunkBytes: 4 * KIB, readHoleBytesMin: 4 * KIB },
    });
    client.bed.device.bytes.fill(0, 0, 32 * KIB);
    const { chunks } = await client.call({ command: CMD.read, length: 64 * KIB, flags: DF });
    expect(chunks).toEqual([{ type: 1, offset: 0n, length: 65536n }]);
    expect(client.bed.device.queries).toEqual([]);
  });

  it('gets EOVERFLOW above the maximum payload, and no content', async () => {
    const client = new Conversation('structured');
    const fields = { command: CMD.read, length: 64 * KIB + 1, flags: DF };
    expect(await client.call(fields)).toMatchObject({ error: EOVERFLOW, chunks: [] });
  });

  it('is refused where DF was not offered', async () => {
    const fields = { command: CMD.read, length: 8, flags: DF };
    expect((await new Conversation('simple').call(fields)).error).toBe(EINVAL);
  });
});

describe('without structured replies', () => {
  it('every reply is a simple one, and a long READ is one piece', async () => {
    const client = new Conversation('simple', { limits: { readChunkBytes: 4 * KIB } });
    for (const command of [CMD.read, CMD.flush, CMD.trim, CMD.cache, CMD.writeZeroes, 99]) {
      const length = command === CMD.flush ? 0 : 64 * KIB;
      expect((await client.call({ command, length })).error).toBe(command === 99 ? EINVAL : 0);
    }
  });

  it('a READ above the maximum payload fails, and BLOCK_STATUS is refused', async () => {
    const client = new Conversation('simple');
    expect((await client.call({ command: CMD.read, length: 64 * KIB + 1 })).error).toBe(EINVAL);
    expect((await client.call({ command: CMD.blockStatus, length: 512 })).error).toBe(EINVAL);
  });
});
