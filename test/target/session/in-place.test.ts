import { afterEach, describe, expect, it } from 'vitest';
import { TaskManagementFunction, TaskManagementStatus } from '../../../src/iscsi/codes.js';
import { ScsiStatus } from '../../../src/scsi/wire.js';
import { COMMAND_WINDOW } from '../../../src/target/session/limits.js';
import { CHUNK_BYTES } from '../../../src/store/limits.js';
import { MemoryStore } from '../../../src/store/memory-store.js';
import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import type { RdmaTransport } from '../../../src/transport/verbs.js';
import { BLOCK, pattern, read16, testUnitReady, write16 } from '../../support/target/cdbs.js';
import { HoldingStore } from '../../support/target/holding-store.js';
import { TARGET_NAME, TargetBed } from '../../support/target/bed.js';
import { TestInitiator } from '../../support/target/initiator.js';
import { StoreOp } from '../../../src/store/store.js';
import type { StoreRequest } from '../../../src/store/store.js';
import { turns, until } from '../../support/waiting.js';

const LUN_BYTES = 4 << 20;

let bed: TargetBed | null = null;
afterEach(async () => {
  const used = bed?.portal.buffersUsed;
  await bed?.close();
  expect(used ?? 0).toBe(0);
  bed = null;
});

/** A target over TCP, and an initiator; the socket holds far less than what the tests have the target send at once. */
async function overTcp(crc: 'on' | 'off', store: MemoryStore): Promise<TestInitiator> {
  const transport: RdmaTransport = new IwarpTransport({ crc });
  bed = new TargetBed({ transport, luns: [store] });
  bed.address = await bed.portal.listen({ host: '127.0.0.1', port: 0 });
  return connect(crc);
}

async function connect(crc: 'on' | 'off', isidLow = 1): Promise<TestInitiator> {
  const initiator = await TestInitiator.connect(new IwarpTransport({ crc }), bed!.address);
  const { pdu } = await initiator.login(TARGET_NAME, {}, isidLow);
  expect(pdu.statusClass).toBe(0);
  await initiator.clearAttention();
  return initiator;
}

async function responses(initiator: TestInitiator, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    expect((await initiator.receiveResponse()).response.status).toBe(ScsiStatus.good);
  }
}

/** UNMAP of one range; its list goes as immediate data. */
function unmap(lba: number, blocks: number) {
  const write = Buffer.alloc(24);
  write.writeUInt16BE(22, 0);
  write.writeUInt16BE(16, 2);
  write.writeUInt32BE(lba, 12);
  write.writeUInt32BE(blocks, 16);
  return { cdb: [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], write, immediateBytes: 24 };
}

async function fill(initiator: TestInitiator, data: Buffer): Promise<void> {
  for (let at = 0; at < data.length; at += 1 << 20) {
    const write = data.subarray(at, at + (1 << 20));
    const { response } = await initiator.execute({
      cdb: write16(at / BLOCK, write.length / BLOCK),
      write,
    });
    expect(response.status).toBe(ScsiStatus.good);
  }
}

describe.each(['on', 'off'] as const)('data that waits for the socket, with CRC %s,', (crc) => {
  it('is what it was when its command ran, whatever is written meanwhile', async () => {
    const store = new MemoryStore({ sizeBytes: LUN_BYTES });
    const initiator = await overTcp(crc, store);
    const now = pattern(1 << 20, 1);
    await fill(initiator, now);
    const reads: { dataIn: Buffer; expected: Buffer }[] = [];
    for (let index = 0; index < 24; index++) {
      const { dataIn } = initiator.sendCommand({ cdb: read16(0, 2048), read: 1 << 20 });
      reads.push({ dataIn: dataIn!.bytes, expected: Buffer.from(now) });
      const at = (index * 40_960) % (1 << 20);
      const write = pattern(8192, index + 2);
      initiator.sendCommand({ cdb: write16(at / BLOCK, 16), write, immediateBytes: 8192 });
      write.copy(now, at);
    }
    for (let count = 0; count < 2 * reads.length; count++) {
      expect((await initiator.receiveResponse()).response.status).toBe(ScsiStatus.good);
    }
    const wrong = reads.filter(({ dataIn, expected }) => !dataIn.equals(expected));
    expect(wrong).toHaveLength(0);
    const { data } = await initiator.execute({ cdb: read16(0, 2048), read: 1 << 20 });
    expect(data.equals(now)).toBe(true);
    expect(store.allocatedBytes).toBe(1 << 20);
  });

  it('outlives its chunks, when they are punched and written anew', async () => {
    const store = new MemoryStore({ sizeBytes: LUN_BYTES });
    const initiator = await overTcp(crc, store);
    const old = pattern(1 << 20, 1);
    const reads: Buffer[] = [];
    for (let round = 0; round < 8; round++) {
      await fill(initiator, old);
      for (let count = 0; count < 2; count++) {
        const { dataIn } = initiator.sendCommand({ cdb: read16(0, 2048), read: 1 << 20 });
        reads.push(dataIn!.bytes);
      }
      initiator.sendCommand(unmap(0, 2048));
      const { dataIn } = initiator.sendCommand({ cdb: read16(0, 2048), read: 1 << 20 });
      const write = pattern(4096, round);
      initiator.sendCommand({ cdb: write16(8, 8), write, immediateBytes: 4096 });
      for (let count = 0; count < 5; count++) {
        expect((await initiator.receiveResponse()).response.status).toBe(ScsiStatus.good);
      }
      expect(dataIn!.bytes.every((byte) => byte === 0)).toBe(true);
      const { data } = await initiator.execute({ cdb: read16(0, 24), read: 24 * BLOCK });
      expect(data.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
      expect(data.subarray(4096, 8192).equals(write)).toBe(true);
      expect(data.subarray(8192).every((byte) => byte === 0)).toBe(true);
    }
    expect(reads.every((data) => data.equals(old))).toBe(true);
  });

  it('is given up with its connection, and with its memory', async () => {
    const store = new MemoryStore({ sizeBytes: LUN_BYTES });
    const initiator = await overTcp(crc, store);
    await fill(initiator, pattern(1 << 20, 1));
    for (let count = 0; count < 16; count++) {
      initiator.sendCommand({ cdb: read16(0, 2048), read: 1 << 20 });
    }
    initiator.sendCommand(unmap(0, 2048));
    await initiator.receive();
    initiator.vanish();
    await until(() => bed!.portal.sessionCount === 0);
    expect(store.pinnedChunks).toBe(0);
    expect(store.allocatedBytes).toBe(0);
  });
});

describe.each(['on', 'off'] as const)('a write of whole chunks, with CRC %s,', (crc) => {
  const isVersion = (data: Buffer): boolean => data.equals(Buffer.alloc(data.length, data[0]));

  it('is seen as a whole or not at all', async () => {
    const store = new MemoryStore({ sizeBytes: LUN_BYTES });
    const initiator = await overTcp(crc, store);
    await fill(initiator, Buffer.alloc(1 << 20, 0xff));
    const reads: Buffer[] = [];
    for (let index = 0; index < 30; index++) {
      initiator.sendCommand({ cdb: write16(0, 2048), write: Buffer.alloc(1 << 20, index) });
      const { dataIn } = initiator.sendCommand({ cdb: read16(0, 2048), read: 1 << 20 });
      reads.push(dataIn!.bytes);
      if (index >= 4) await responses(initiator, 2);
    }
    await responses(initiator, 8);
    expect(reads.every(isVersion)).toBe(true);
    expect(new Set(reads.map((data) => data[0])).size).toBeGreaterThan(1);
    expect(store.pinnedChunks).toBe(0);
    expect(store.lentChunks).toBe(0);
    expect(store.allocatedBytes).toBe(1 << 20);
  });

  it('changes nothing when it is aborted, or its connection lost, while its data arrives', async () => {
    const store = new MemoryStore({ sizeBytes: LUN_BYTES });
    const initiator = await overTcp(crc, store);
    const data = pattern(1 << 20, 1);
    await fill(initiator, data);
    const abort = { function: TaskManagementFunction.abortTask };
    for (let round = 0; round < 20; round++) {
      const write = Buffer.alloc(1 << 20, round);
      const { tag } = initiator.sendCommand({ cdb: write16(0, 2048), write });
      const status = await initiator.taskManagement({ ...abort, referencedTaskTag: tag });
      expect(status).toBe(TaskManagementStatus.complete);
      const read = await initiator.execute({ cdb: read16(0, 2048), read: 1 << 20 });
      expect(read.data.equals(data)).toBe(true);
      expect(store.lentChunks).toBe(0);
    }
    for (let count = 0; count < 12; count++) {
      initiator.sendCommand({ cdb: write16(0, 2048), write: Buffer.alloc(1 << 20, 0xdd) });
    }
    await until(() => store.lentChunks > 0);
    initiator.vanish();
    await until(() => bed!.portal.sessionCount === 0);
    expect(store.lentChunks).toBe(0);
    const other = await connect(crc);
    const read = await other.execute({ cdb: read16(0, 2048), read: 1 << 20 });
    const written = Buffer.alloc(1 << 20, 0xdd);
    expect(read.data.equals(data) || read.data.equals(written)).toBe(true);
    expect(store.allocatedBytes).toBe(1 << 20);
  });
});

describe('a read', () => {
  it('may begin and end anywhere, in written chunks and others', async () => {
    const sizeBytes = 6 * CHUNK_BYTES + 5 * BLOCK;
    const store = new MemoryStore({ sizeBytes });
    bed = await TargetBed.start({ luns: [store] });
    const initiator = await bed.initiator();
    const blocks = sizeBytes / BLOCK;
    const chunkBlocks = CHUNK_BYTES / BLOCK;
    const oracle = Buffer.alloc(sizeBytes);
    const spans = [
      [0, 1],
      [0, chunkBlocks],
      [chunkBlocks - 1, 2],
      [1, 4 * chunkBlocks],
      [chunkBlocks / 2, 5 * chunkBlocks],
      [0, blocks],
      [blocks - 1, 1],
      [blocks - chunkBlocks - 5, chunkBlocks + 5],
    ] as const;
    for (const hole of [0, 6, 3, -1]) {
      oracle.fill(0);
      await initiator.execute(unmap(0, blocks));
      for (let chunk = 0; chunk <= 6; chunk++) {
        const at = chunk * CHUNK_BYTES;
        const data = pattern(Math.min(CHUNK_BYTES, sizeBytes - at), chunk);
        if (chunk === hole) continue;
        const cdb = write16(at / BLOCK, data.length / BLOCK);
        expect((await initiator.execute({ cdb, write: data })).response.status).toBe(0);
        data.copy(oracle, at);
      }
      for (const [lba, count] of spans) {
        const { data } = await initiator.execute({ cdb: read16(lba, count), read: count * BLOCK });
        const expected = oracle.subarray(lba * BLOCK, (lba + count) * BLOCK);
        expect(data.equals(expected), `${count} blocks at ${lba}, hole at ${hole}`).toBe(true);
      }
    }
    expect(store.pinnedChunks).toBe(0);
  });

  it('gives no more than the initiator expects, and pads nothing to what it expects', async () => {
    const store = new MemoryStore({ sizeBytes: LUN_BYTES });
    bed = await TargetBed.start({ luns: [store] });
    const initiator = await bed.initiator();
    const data = pattern(2 * CHUNK_BYTES, 1);
    await fill(initiator, data);
    for (const expected of [BLOCK, CHUNK_BYTES, CHUNK_BYTES + 4, 2 * CHUNK_BYTES, 0]) {
      const blocks = (2 * CHUNK_BYTES) / BLOCK;
      const command = { cdb: read16(0, blocks), read: 2 * CHUNK_BYTES, expected };
      const { dataIn } = initiator.sendCommand(command);
      const { response } = await initiator.receiveResponse();
      expect(response.residual).toBe(2 * CHUNK_BYTES - expected);
      expect(response.overflow).toBe(expected < 2 * CHUNK_BYTES);
      expect(dataIn!.bytes.subarray(0, expected).equals(data.subarray(0, expected))).toBe(true);
      expect(dataIn!.bytes.subarray(expected).every((byte) => byte === 0)).toBe(true);
    }
  });
});

describe('a write that works on the memory of its receive', () => {
  it('keeps it until it ends, and the window is open to as many others', async () => {
    const store = new HoldingStore({ sizeBytes: LUN_BYTES });
    bed = await TargetBed.start({ luns: [store] });
    const initiator = await bed.initiator();
    store.isHolding = true;
    for (let index = 0; index < COMMAND_WINDOW; index++) {
      const write = pattern(8192, index);
      initiator.sendCommand({ cdb: write16(index * 16, 16), write, immediateBytes: 8192 });
    }
    await until(() => store.held.length >= COMMAND_WINDOW);
    expect(bed.portal.buffersUsed).toBe(0);
    // Pings and task management still find receives.
    for (let count = 0; count < 20; count++) {
      initiator.nopOut(pattern(64, count));
      expect((await initiator.receive()).opcode).toBe(0x20);
    }
    store.release();
    for (let index = 0; index < COMMAND_WINDOW; index++) {
      expect((await initiator.receiveResponse()).response.status).toBe(ScsiStatus.good);
    }
    for (let index = 0; index < COMMAND_WINDOW; index++) {
      const { data } = await initiator.execute({ cdb: read16(index * 16, 16), read: 8192 });
      expect(data.equals(pattern(8192, index))).toBe(true);
    }
  });

  it('does not, as an immediate command, of which there may be more than receives', async () => {
    const store = new HoldingStore({ sizeBytes: LUN_BYTES });
    bed = await TargetBed.start({ luns: [store] });
    const initiator = await bed.initiator();
    store.isHolding = true;
    for (let index = 0; index < 40; index++) {
      const write = pattern(8192, index);
      const cdb = write16(index * 16, 16);
      initiator.sendCommand({ cdb, write, immediateBytes: 8192, isImmediate: true });
      await until(() => store.held.length > index);
    }
    for (let index = 0; index < COMMAND_WINDOW; index++) {
      initiator.sendCommand({ cdb: testUnitReady() });
    }
    for (let index = 0; index < COMMAND_WINDOW; index++) await initiator.receiveResponse();
    store.release();
    for (let index = 0; index < 40; index++) {
      expect((await initiator.receiveResponse()).response.status).toBe(ScsiStatus.good);
    }
    for (let index = 0; index < 40; index++) {
      const { data } = await initiator.execute({ cdb: read16(index * 16, 16), read: 8192 });
      expect(data.equals(pattern(8192, index))).toBe(true);
    }
  });

  it('gives it back when it is aborted, and not before it has ended', async () => {
    const store = new HoldingStore({ sizeBytes: LUN_BYTES });
    bed = await TargetBed.start({ luns: [store] });
    const initiator = await bed.initiator();
    const { abortTask } = TaskManagementFunction;
    // More often than there are receives.
    for (let round = 0; round < 2 * COMMAND_WINDOW; round++) {
      store.isHolding = true;
      const data = pattern(4096, round);
      const { tag } = initiator.sendCommand({
        cdb: write16(0, 8),
        write: data,
        immediateBytes: 4096,
      });
      await until(() => store.held.length > 0);
      initiator.sendTaskManagement({ function: abortTask, referencedTaskTag: tag });
      // What comes meanwhile goes elsewhere.
      initiator.nopOut(pattern(4096, ~round));
      expect((await initiator.receive()).opcode).toBe(0x20);
      store.release();
      expect(await initiator.receiveTaskManagement()).toBe(TaskManagementStatus.complete);
      const read = await initiator.execute({ cdb: read16(0, 8), read: 4096 });
      expect(read.data.equals(data)).toBe(true);
    }
  });
});

describe('data that is being fetched when the connection is lost', () => {
  it.each([
    ['whole chunks', 0],
    ['anything else', 8],
  ])('is not written half: %s', async (_, lba) => {
    const store = new MemoryStore({ sizeBytes: LUN_BYTES });
    const initiator = await overTcp('off', store);
    const data = pattern(1 << 20, 1);
    const before = Array.from({ length: 3 }, () => data);
    for (let count = 0; count < before.length; count++) {
      await initiator.execute({ cdb: write16(count * 2048 + lba, 2048), write: data });
    }
    for (let round = 0; round < 20; round++) {
      const victim = await connect('off', round + 2);
      const written = Buffer.alloc(1 << 20, round + 1);
      for (let count = 0; count < 3; count++) {
        const blocks = count * 2048 + lba;
        victim.sendCommand({ cdb: write16(blocks, 2048), write: written });
      }
      const isBusy = (): boolean => store.lentChunks + bed!.portal.buffersUsed > 0;
      await until(() => isBusy());
      await turns(round % 5);
      victim.vanish();
      await until(() => bed!.portal.sessionCount <= 1);
      for (let count = 0; count < 3; count++) {
        const cdb = read16(count * 2048 + lba, 2048);
        const read = await initiator.execute({ cdb, read: 1 << 20 });
        const isNew = read.data.equals(written);
        const isOld = read.data.equals(before[count]!);
        expect(isNew || isOld).toBe(true);
        if (isNew) before[count] = written;
      }
    }
  });
});

it('a read with FUA is not in place: the data is on the medium first', async () => {
  const store = new MemoryStore({ sizeBytes: LUN_BYTES });
  const initiator = await overTcp('off', store);
  await fill(initiator, pattern(256 * BLOCK));
  const seen: StoreOp[] = [];
  const submit = store.submit.bind(store);
  store.submit = (request: StoreRequest) => {
    seen.push(request.op);
    submit(request);
  };
  const [opcode = 0, , ...rest] = read16(0, 256);
  for (const flags of [0, 0x08]) {
    const { response } = await initiator.execute({
      cdb: [opcode, flags, ...rest],
      read: 8 * BLOCK,
    });
    expect(response.status).toBe(ScsiStatus.good);
  }
  expect(seen).toEqual([StoreOp.flush, StoreOp.read]);
});
