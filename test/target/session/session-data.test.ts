import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Asc, SenseKey } from '../../../src/scsi/sense.js';
import { ScsiStatus } from '../../../src/scsi/wire.js';
import { SESSION_BUFFER_BYTES_MAX } from '../../../src/target/session/limits.js';
import { UNIT_TRANSFER_BYTES_MAX } from '../../../src/target/unit/limits.js';
import {
  BLOCK,
  inquiry,
  pattern,
  read16,
  testUnitReady,
  write16,
} from '../../support/target/cdbs.js';
import { HoldingStore } from '../../support/target/holding-store.js';
import { TargetBed } from '../../support/target/bed.js';
import type { TestInitiator } from '../../support/target/initiator.js';

let bed: TargetBed | null = null;
afterEach(async () => {
  const used = bed?.portal.buffersUsed;
  await bed?.close();
  expect(used ?? 0).toBe(0);
  bed = null;
});

const write = (initiator: TestInitiator, lba: number, data: Buffer, immediateBytes = 0) =>
  initiator.execute({ cdb: write16(lba, data.length / BLOCK), write: data, immediateBytes });

const read = (initiator: TestInitiator, lba: number, length: number) =>
  initiator.execute({ cdb: read16(lba, length / BLOCK), read: length });

describe('data', () => {
  it.each([
    [512, 0],
    [512, 512],
    [4096, 4096],
    [8192, 8192],
    [8192, 0],
    [8192, 512],
    [8192, 1024],
    [65_536, 5120],
    [65_536, 8192],
    [1 << 20, 0],
    [(1 << 20) + 512, 0],
    [UNIT_TRANSFER_BYTES_MAX, 0],
    [UNIT_TRANSFER_BYTES_MAX, 8192],
  ])('of a write of %i bytes, %i of them immediate, arrives', async (length, immediateBytes) => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    const data = pattern(length, length + immediateBytes);
    const written = await write(initiator, 3, data, immediateBytes);
    expect(written.response).toMatchObject({ status: ScsiStatus.good, residual: 0 });
    const result = await read(initiator, 3, length);
    expect(result.response).toMatchObject({
      status: ScsiStatus.good,
      residual: 0,
      underflow: false,
      overflow: false,
    });
    expect(result.data.equals(data)).toBe(true);
  });

  it.each([1, 2, 16, 128])('arrives when the initiator answers %i RDMA Reads', async (depth) => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator(1, { responderResources: depth });
    expect(initiator.accepted?.initiatorDepth).toBe(Math.min(depth, 16));
    const size = 256 * 1024;
    for (let index = 0; index < 20; index++) {
      initiator.sendCommand({ cdb: write16(index * 512, 512), write: pattern(size, index) });
    }
    for (let index = 0; index < 20; index++) {
      expect((await initiator.receiveResponse()).response.status).toBe(ScsiStatus.good);
    }
    for (let index = 0; index < 20; index++) {
      const { data } = await read(initiator, index * 512, size);
      expect(data.equals(pattern(size, index))).toBe(true);
    }
  });

  it('cannot be written by an initiator that answers no RDMA Read, unless it is immediate', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator(1, { responderResources: 0 });
    const refused = await write(initiator, 0, pattern(8192), 0);
    expect(refused.response.status).toBe(ScsiStatus.checkCondition);
    expect(refused.sense).toMatchObject({
      key: SenseKey.abortedCommand,
      asc: Asc.dataPhaseError,
    });
    expect((await write(initiator, 0, pattern(8192), 8192)).response.status).toBe(0);
    expect((await read(initiator, 0, 8192)).data.equals(pattern(8192))).toBe(true);
  });

  it('comes as one invalidating response, when the initiator can take that', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    const reading = await read(initiator, 0, 4096);
    expect(reading.invalidatedKey).toBe(reading.keys[0]);
    const writing = await write(initiator, 0, pattern(4096));
    expect(writing.invalidatedKey).toBe(writing.keys[0]);
    const immediate = await write(initiator, 0, pattern(4096), 4096);
    expect(immediate.invalidatedKey).toBeNull();
    const failed = await initiator.execute({ cdb: read16(1 << 30, 8), read: 4096 });
    expect(failed.response.status).toBe(ScsiStatus.checkCondition);
    expect(failed.invalidatedKey).toBe(failed.keys[0]);
    expect((await initiator.execute({ cdb: testUnitReady() })).invalidatedKey).toBeNull();
  });

  it.each([
    ['says that it does not', Uint8Array.of(0xc0, 0, 0, 0), 0xc0],
    ['says nothing', new Uint8Array(), 0xc0],
    ['does', Uint8Array.of(0x80, 0, 0, 0), 0x80],
  ])('is not invalidated for an initiator that %s', async (_, privateData, answer) => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator(1, { privateData });
    expect([...(initiator.accepted?.privateData ?? [])]).toEqual([answer, 0, 0, 0]);
    const { invalidatedKey, response } = await read(initiator, 0, 4096);
    expect(response.status).toBe(ScsiStatus.good);
    expect(invalidatedKey === null).toBe(answer === 0xc0);
  });
});

describe('residuals', () => {
  it('tell by how much less or more there was than expected', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    const short = await initiator.execute({ cdb: inquiry(255), read: 255 });
    expect(short.response).toMatchObject({ underflow: true, overflow: false, residual: 159 });
    const long = await initiator.execute({ cdb: read16(0, 8), read: 4096, expected: 1000 });
    expect(long.response).toMatchObject({ status: 0, overflow: true, residual: 3096 });
    const none = await initiator.execute({ cdb: testUnitReady(), read: 512 });
    expect(none.response).toMatchObject({ status: 0, underflow: true, residual: 512 });
    const refused = await initiator.execute({ cdb: read16(1 << 30, 8), read: 4096 });
    expect(refused.response).toMatchObject({ underflow: true, residual: 4096 });
    const wide = await initiator.execute({ cdb: write16(0, 1), write: pattern(1024) });
    expect(wide.response).toMatchObject({ status: 0, underflow: true, residual: 512 });
    expect((await read(initiator, 0, 512)).data.equals(pattern(1024).subarray(0, 512))).toBe(true);
  });

  it('of a write with too little data come with sense, and nothing is written', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    const narrow = await initiator.execute({ cdb: write16(0, 2), write: pattern(512) });
    expect(narrow.response).toMatchObject({ status: 2, overflow: true, residual: 512 });
    expect(narrow.sense).toMatchObject({ key: SenseKey.illegalRequest, asc: 0x0e03 });
    const dataless = await initiator.execute({ cdb: write16(0, 2) });
    expect(dataless.response).toMatchObject({ status: 2, overflow: true, residual: 1024 });
    expect((await read(initiator, 0, 1024)).data.every((byte) => byte === 0)).toBe(true);
  });

  it('of a read into nothing is all of it', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    const { response } = await initiator.execute({ cdb: read16(0, 2) });
    expect(response).toMatchObject({ status: 0, overflow: true, residual: 1024 });
  });
});

describe('buffers', () => {
  it('are waited for when there are fewer than commands', async () => {
    bed = await TargetBed.start({
      bufferClasses: [
        { slotBytes: 4096, slotsMax: 2, slotsPerSlab: 2 },
        { slotBytes: UNIT_TRANSFER_BYTES_MAX, slotsMax: 1, slotsPerSlab: 1 },
      ],
    });
    const one = await bed.initiator(1);
    const two = await bed.initiator(2);
    for (let index = 0; index < 30; index++) {
      one.sendCommand({ cdb: write16(index * 8, 8), write: pattern(4096, index) });
      two.sendCommand({
        cdb: write16(8192 + index * 8, 8),
        write: pattern(4096, ~index),
        immediateBytes: index % 2 === 0 ? 4096 : 0,
      });
      two.sendCommand({ cdb: read16(0, 256), read: 131_072 });
    }
    for (let index = 0; index < 30; index++) {
      expect((await one.receiveResponse()).response.status).toBe(0);
      expect((await two.receiveResponse()).response.status).toBe(0);
      expect((await two.receiveResponse()).response.status).toBe(0);
    }
    for (let index = 0; index < 30; index++) {
      const first = await read(one, index * 8, 4096);
      expect(first.data.equals(pattern(4096, index))).toBe(true);
      const second = await read(one, 8192 + index * 8, 4096);
      expect(second.data.equals(pattern(4096, ~index))).toBe(true);
    }
  });

  it('of one session end before those of all', async () => {
    const store = new HoldingStore({ sizeBytes: 64 << 20 });
    bed = await TargetBed.start({ luns: [store] });
    const greedy = await bed.initiator(1);
    const modest = await bed.initiator(2);
    store.isHolding = true;
    for (let index = 0; index < 8; index++) {
      greedy.sendCommand({ cdb: read16(0, 8192), read: UNIT_TRANSFER_BYTES_MAX });
    }
    greedy.nopOut();
    await greedy.receive();
    expect(store.held).toHaveLength(SESSION_BUFFER_BYTES_MAX / UNIT_TRANSFER_BYTES_MAX);
    const held = store.held.splice(0);
    store.isHolding = false;
    const { response } = await read(modest, 0, UNIT_TRANSFER_BYTES_MAX);
    expect(response.status).toBe(0);
    for (const request of held) store.submit(request);
    for (let index = 0; index < 8; index++) {
      expect((await greedy.receiveResponse()).response.status).toBe(0);
    }
  });
});

describe('a session under load', () => {
  it('keeps what was written, whatever runs side by side', async () => {
    const regionBlocks = 16;
    const operation = fc.record({
      isWrite: fc.boolean(),
      region: fc.nat(60),
      blocks: fc.integer({ min: 1, max: regionBlocks }),
      isImmediate: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 1, maxLength: 100 }),
        fc.constantFrom(1, 3, 16),
        async (operations, depth) => {
          const load = await TargetBed.start();
          const initiator = await load.initiator(1, { responderResources: depth });
          const oracle = new Map<number, Buffer>();
          let sent = 0;
          const reads: { slab: Buffer; region: number; expected: Buffer }[] = [];
          const collect = async () => {
            for (; sent > 0; sent--) {
              expect((await initiator.receiveResponse()).response.status).toBe(0);
            }
            for (const { slab, expected } of reads.splice(0)) {
              expect(slab.equals(expected)).toBe(true);
            }
          };
          const touched = new Set<number>();
          for (const [index, { isWrite, region, blocks, isImmediate }] of operations.entries()) {
            // Commands on the same blocks at once have no order to check.
            if (touched.has(region)) {
              await collect();
              touched.clear();
            }
            touched.add(region);
            const length = blocks * BLOCK;
            const lba = region * regionBlocks;
            if (isWrite) {
              const data = pattern(length, index);
              const before = oracle.get(region) ?? Buffer.alloc(regionBlocks * BLOCK);
              data.copy(before);
              oracle.set(region, before);
              const immediateBytes = isImmediate ? length : 0;
              initiator.sendCommand({ cdb: write16(lba, blocks), write: data, immediateBytes });
            } else {
              const { dataIn } = initiator.sendCommand({ cdb: read16(lba, blocks), read: length });
              const expected = oracle.get(region) ?? Buffer.alloc(regionBlocks * BLOCK);
              reads.push({
                slab: dataIn!.bytes,
                region,
                expected: Buffer.from(expected.subarray(0, length)),
              });
            }
            sent += 1;
          }
          await collect();
          expect(load.portal.buffersUsed).toBe(0);
          await load.close();
        },
      ),
      { numRuns: 15 },
    );
  });
});
