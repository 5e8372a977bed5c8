import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import { CMD, FAST_ZERO, FUA, NO_HOLE, hex, request } from '../support/nbd/client.js';
import { SIZE, TransmissionBed as Bed, slots } from '../support/nbd/transmission-bed.js';

const KIB = 1024;
const [EPERM, EIO, EINVAL, ENOSPC, ENOTSUP] = [1, 5, 22, 28, 95];

describe('a request', () => {
  it('to read is answered with header and data in one piece', () => {
    const bed = new Bed();
    bed.receive(
      request({ command: CMD.read, offset: 4096, length: 8, cookie: 0xfedcba9876543210n }),
    );
    bed.device.complete();
    expect(bed.sent).toHaveLength(1);
    bed.flush();
    expect(bed.output).toEqual(hex('67446698 00000000 fedcba9876543210 00001000 00001004'));
    expect(bed.pool.usedCount).toBe(0);
    expect(bed.counter('nbd_read_bytes_total')).toBe(8);
  });

  it('to write puts its payload on the device', () => {
    const bed = new Bed();
    const data = Buffer.from('some data to be written');
    bed.receive(request({ command: CMD.write, offset: 100, data, cookie: 7n }));
    expect(bed.device.seen).toEqual([
      {
        op: BlockOp.write,
        offset: 100,
        length: data.length,
        forceUnitAccess: false,
        noHole: false,
        fastOnly: false,
      },
    ]);
    bed.settle();
    expect(bed.reply()).toMatchObject({ error: 0, cookie: 7n });
    expect(bed.device.bytes.subarray(100, 100 + data.length)).toEqual(data);
    expect(bed.counter('nbd_written_bytes_total')).toBe(data.length);
  });

  it('carries its flags to the device, and FUA only where data is written', () => {
    const bed = new Bed();
    bed.receive(
      request({ command: CMD.write, data: Buffer.alloc(512), flags: FUA }),
      request({ command: CMD.writeZeroes, length: 512, flags: FUA | NO_HOLE }),
      request({ command: CMD.writeZeroes, length: 512, flags: FAST_ZERO }),
      request({ command: CMD.trim, length: 512, flags: FUA }),
      request({ command: CMD.read, length: 512, flags: FUA }),
      request({ command: CMD.flush, flags: FUA }),
      request({ command: CMD.cache, length: 512 }),
    );
    const flags = bed.device.seen.map((seen) => [
      seen.op,
      seen.forceUnitAccess,
      seen.noHole,
      seen.fastOnly,
    ]);
    expect(flags).toEqual([
      [BlockOp.write, true, false, false],
      [BlockOp.writeZeroes, true, true, false],
      [BlockOp.writeZeroes, false, false, true],
      [BlockOp.trim, true, false, false],
      [BlockOp.read, false, false, false],
      [BlockOp.flush, false, false, false],
      [BlockOp.cache, false, false, false],
    ]);
    bed.settle();
    expect(bed.counter('nbd_requests_total', { command: 'WRITE_ZEROES' })).toBe(2);
  });

  it('of length 0 succeeds without the device', () => {
    const bed = new Bed();
    for (const command of [CMD.read, CMD.write, CMD.trim, CMD.cache, CMD.writeZeroes]) {
      bed.receive(request({ command, offset: SIZE, length: 0 }));
      bed.flush();
      expect(bed.reply().error).toBe(0);
    }
    expect(bed.device.seen).toEqual([]);
  });

  it('is answered as soon as it completes, in any order', () => {
    const bed = new Bed();
    for (const cookie of [1n, 2n, 3n]) {
      bed.receive(request({ command: CMD.read, length: 4, offset: Number(cookie) * 4, cookie }));
    }
    bed.device.complete(2);
    bed.device.complete(0);
    bed.device.complete(0);
    bed.flush();
    const cookies = [bed.reply(4), bed.reply(4), bed.reply(4)];
    expect(cookies.map(({ cookie, data }) => [cookie, data.readUInt32BE(0)])).toEqual([
      [3n, 12],
      [1n, 4],
      [2n, 8],
    ]);
  });

  it.each([
    [BlockStatus.ioError, EIO],
    [BlockStatus.noSpace, ENOSPC],
    [BlockStatus.notPermitted, EPERM],
    [BlockStatus.notSupported, EINVAL],
  ])(
    'that the device fails with status %i gets error %i, and the connection goes on',
    (status, error) => {
      const bed = new Bed();
      for (const command of [CMD.read, CMD.trim]) {
        bed.receive(request({ command, length: 512, cookie: 5n }));
        bed.device.complete(0, status);
        bed.flush();
        expect(bed.output).toHaveLength(16);
        expect(bed.reply()).toMatchObject({ error, cookie: 5n });
      }
      expect(bed.pool.usedCount).toBe(0);
      expect(bed.counter('nbd_errors_total')).toBe(2);
    },
  );

  it('to zero fast gets ENOTSUP from a device that cannot', () => {
    const bed = new Bed();
    bed.receive(request({ command: CMD.writeZeroes, length: 512, flags: FAST_ZERO }));
    bed.device.complete(0, BlockStatus.notSupported);
    bed.flush();
    expect(bed.reply().error).toBe(ENOTSUP);
  });
});

describe('a refused write', () => {
  it.each([
    ['past the end', { offset: SIZE - 4 }, {}, ENOSPC],
    ['to a read-only export', {}, { readOnly: true }, EPERM],
    ['with an unknown flag', { flags: 0x8000 }, {}, EINVAL],
    ['off the minimum block size', { offset: 1 }, { minimumBytes: 512 }, EINVAL],
  ])('%s is drained, answered then, and the stream stays in step', (_, fields, info, error) => {
    const bed = new Bed({ info });
    const data = Buffer.alloc(1000, 0x25);
    const bytes = request({ command: CMD.write, data, cookie: 1n, ...fields });
    bed.receive(bytes.subarray(0, 500));
    expect(bed.sent).toHaveLength(0);
    bed.receive(bytes.subarray(500), request({ command: CMD.read, length: 512, cookie: 2n }));
    bed.settle();
    expect(bed.reply()).toMatchObject({ error, cookie: 1n });
    expect(bed.reply(512)).toMatchObject({ error: 0, cookie: 2n });
    expect(bed.device.seen).toHaveLength(1);
  });

  it('longer than the largest payload is drained too', () => {
    const bed = new Bed({ limits: { drainBytesMax: 100 * KIB } });
    bed.receive(request({ command: CMD.write, length: 100 * KIB, cookie: 1n }));
    for (let count = 0; count < 100; count++) bed.receive(Buffer.alloc(KIB));
    bed.flush();
    expect(bed.reply()).toMatchObject({ error: EINVAL, cookie: 1n });
    expect(bed.violation).toBeNull();
  });

  it('too long to be drained ends the connection, once the rest is answered', () => {
    const bed = new Bed({ limits: { drainBytesMax: 100 * KIB } });
    bed.receive(
      request({ command: CMD.read, length: 4, cookie: 1n }),
      request({ command: CMD.write, length: 100 * KIB + 1, cookie: 2n }),
    );
    expect(bed.violation?.code).toBe('nbd-write-length');
    expect(bed.idleCount).toBe(0);
    bed.settle();
    expect(bed.reply(4)).toMatchObject({ error: 0, cookie: 1n });
    expect(bed.output).toHaveLength(0);
    expect(bed.idleCount).toBe(1);
  });
});

describe('garbage', () => {
  it('instead of a request ends the connection after what was in flight', () => {
    const bed = new Bed();
    bed.receive(request({ command: CMD.flush, cookie: 1n }), Buffer.alloc(28, 0x41));
    expect(bed.violation?.code).toBe('nbd-request-magic');
    bed.receive(request({ command: CMD.flush, cookie: 2n }));
    bed.settle();
    expect(bed.reply().cookie).toBe(1n);
    expect(bed.output).toHaveLength(0);
    expect(bed.idleCount).toBe(1);
  });

  it('never throws and leaves no buffer behind', () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .record({
          command: fc.nat(9),
          offset: fc.nat(SIZE),
          length: fc.nat(70_000),
          flags: fc.nat(40),
        })
        .map((fields) => new Uint8Array(request(fields))),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 30 }), (parts) => {
        const bed = new Bed({ classes: slots(4) });
        for (const bytes of parts) {
          bed.receive(bytes);
          if (bed.isPaused) bed.settle();
        }
        bed.transmission.abort();
        bed.device.completeAll();
        bed.flush();
        expect(bed.pool.usedCount).toBe(0);
        expect(bed.transmission.inFlightCount).toBe(0);
        expect(bed.idleCount).toBe(1);
      }),
    );
  });
});

interface Step {
  readonly isWrite: boolean;
  readonly offset: number;
  readonly length: number;
  readonly fill: number;
}

describe('any split of the bytes', () => {
  const step = fc.record({
    isWrite: fc.boolean(),
    offset: fc.nat(2 * KIB),
    length: fc.integer({ min: 1, max: 600 }),
    fill: fc.nat(255),
  });
  const sizes = fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 30 });

  /** Runs the steps one at a time: the oracle is a plain array of bytes. */
  function check(steps: readonly Step[], splits: readonly number[], slotCount: number): void {
    const bed = new Bed({ classes: slots(slotCount, KIB), limits: { inFlightMax: 2 } });
    const disk = Buffer.from(bed.device.bytes);
    const expected: Buffer[] = [];
    const stream = Buffer.concat(
      steps.map(({ isWrite, offset, length, fill }, index) => {
        const cookie = BigInt(index);
        if (!isWrite) return request({ command: CMD.read, offset, length, cookie });
        return request({ command: CMD.write, offset, data: Buffer.alloc(length, fill), cookie });
      }),
    );
    for (const [index, { isWrite, offset, length, fill }] of steps.entries()) {
      if (isWrite) disk.fill(fill, offset, offset + length);
      const head = hex(`67446698 00000000 ${index.toString(16).padStart(16, '0')}`);
      expected.push(head, Buffer.from(isWrite ? [] : disk.subarray(offset, offset + length)));
    }
    for (let at = 0, turn = 0; at < stream.length; turn++) {
      const size = splits[turn % splits.length] ?? 1;
      bed.receive(stream.subarray(at, at + size));
      at += size;
      bed.settle();
    }
    expect(bed.output.equals(Buffer.concat(expected))).toBe(true);
    expect(bed.device.bytes.equals(disk)).toBe(true);
    expect(bed.pool.usedCount).toBe(0);
  }

  it('gives the same replies and the same disk', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), sizes, (steps, splits) =>
        check(steps, splits, 8),
      ),
    );
  });
});
