import { afterEach, describe, expect, it } from 'vitest';
import { DataDirection } from '../../src/common/data-direction.js';
import type { RegistrationScheme } from '../../src/iser/device.js';
import { WorkStatus } from '../../src/transport/verbs.js';
import { bhsOf, IserBed, Op } from '../support/iser/upper-layer.js';
import { settle } from '../support/waiting.js';

let bed: IserBed;

afterEach(() => bed.close());

const schemes: { registration: RegistrationScheme }[] = [
  { registration: 'fast' },
  { registration: 'pool' },
];

function fillPattern(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at++) bytes[at] = (at * 7 + (at >> 8)) & 0xff;
}

describe.each(schemes)('a command, with $registration registration', ({ registration }) => {
  const invalidates = registration === 'fast';

  async function start(): Promise<void> {
    bed = await IserBed.fullFeature({ module: { registration } });
    fillPattern(bed.slab.bytes);
  }

  it('that reads gives the target a key and the address of its buffer', async () => {
    await start();
    bed.upper.read(bed.tasks[0]!, 0x10, bed.slab, 4096, 8192);
    const { header, bhs, data } = await bed.far.received(1);
    expect(header.isReadStagValid).toBe(true);
    expect(header.isWriteStagValid).toBe(false);
    expect(bhs.readUInt32BE(16)).toBe(0x10);
    expect(data).toHaveLength(0);
    expect(bed.tasks[0]!.isActive).toBe(true);

    const answer = Buffer.alloc(8192, 0xa5);
    const { readStag, readAddressHigh, readAddressLow } = header;
    const status = bed.far.write(readStag, readAddressHigh, readAddressLow, answer);
    bed.respond(bed.far.pdus[0]!, invalidates);
    await bed.upper.received(1);
    expect(await status).toBe(WorkStatus.success);
    expect(bed.slab.bytes.subarray(4096, 12288).equals(answer)).toBe(true);
    expect(bed.slab.bytes[4095]).not.toBe(0xa5);
    expect(bed.slab.bytes[12288]).not.toBe(0xa5);
    expect(bed.tasks[0]!.isActive).toBe(false);
  });

  it('that reads tells how much has come, where that can be known', async () => {
    await start();
    const { countsDataIn } = bed.connection.limits;
    expect(countsDataIn).toBe(registration === 'fast');
    bed.upper.finishesOnResponse = false;
    for (const [index, placed] of [0, 4096, 8192].entries()) {
      bed.upper.read(bed.tasks[0]!, index, bed.slab, 4096, 8192);
      const { header } = await bed.far.received(index + 1);
      const { readStag, readAddressHigh, readAddressLow } = header;
      const data = Buffer.alloc(placed, 0xa5);
      if (placed > 0) void bed.far.write(readStag, readAddressHigh, readAddressLow, data);
      bed.respond(bed.far.pdus[index]!, invalidates);
      await bed.upper.received(index + 1);
      expect(bed.tasks[0]!.placedBytes).toBe(countsDataIn ? placed : 0);
      bed.upper.finish(index);
    }
  });

  it('that writes more than immediate data lets the target read its buffer', async () => {
    await start();
    bed.upper.write(bed.tasks[0]!, 0x11, bed.slab, 512, 100_000);
    const { header, data } = await bed.far.received(1);
    expect(header.isWriteStagValid).toBe(true);
    expect(header.isReadStagValid).toBe(false);
    expect(data).toHaveLength(0);
    const { writeStag, writeAddressHigh, writeAddressLow } = header;
    const read = await bed.far.read(writeStag, writeAddressHigh, writeAddressLow, 100_000);
    expect(read!.equals(bed.slab.bytes.subarray(512, 100_512))).toBe(true);
    bed.respond(bed.far.pdus[0]!, invalidates);
    await bed.upper.received(1);
    expect(bed.tasks[0]!.isActive).toBe(false);
  });

  it('that writes immediate data carries all of it and gives out no key', async () => {
    await start();
    bed.upper.writeImmediate(bed.tasks[0]!, 0x12, bed.slab, 1024, 4096);
    const { header, data } = await bed.far.received(1);
    expect(header.isWriteStagValid).toBe(false);
    expect(header.isReadStagValid).toBe(false);
    expect(data.equals(bed.slab.bytes.subarray(1024, 5120))).toBe(true);
    bed.respond(bed.far.pdus[0]!, false);
    await bed.upper.received(1);
  });

  it.each([1, 2, 3, 5, 4094, 8191, 8192])(
    'with %i bytes of immediate data pads it to 4 with zeros',
    async (length) => {
      await start();
      bed.upper.writeImmediate(bed.tasks[0]!, 0x13, bed.slab, 77, length);
      const { data } = await bed.far.received(1);
      const padded = Buffer.alloc(Math.ceil(length / 4) * 4);
      bed.slab.bytes.copy(padded, 0, 77, 77 + length);
      expect(data.equals(padded)).toBe(true);
    },
  );

  it('without data gives out no key', async () => {
    await start();
    bed.upper.command(bed.tasks[0]!, 0x14, DataDirection.none);
    const { header } = await bed.far.received(1);
    expect(header.isWriteStagValid || header.isReadStagValid).toBe(false);
    bed.respond(bed.far.pdus[0]!, false);
    await bed.upper.received(1);
    expect(bed.tasks[0]!.isActive).toBe(false);
  });

  it('can be followed by thousands more in the same tasks, with no key or descriptor lost', async () => {
    await start();
    const total = 3000;
    let sent = 0;
    const startNext = (index: number): void => {
      if (sent === total) return;
      const tag = sent++;
      const kind = tag % 4;
      const task = bed.tasks[index]!;
      const offset = index * 16_384;
      if (kind === 0) bed.upper.read(task, tag, bed.slab, offset, 4096);
      else if (kind === 1) bed.upper.write(task, tag, bed.slab, offset, 16_384);
      else if (kind === 2) bed.upper.writeImmediate(task, tag, bed.slab, offset, 512);
      else bed.upper.command(task, tag, DataDirection.none);
    };
    bed.far.onPdu = (pdu) => bed.respond(pdu, invalidates && pdu.bhs.readUInt32BE(16) % 3 !== 0);
    const indexOf = new Map(bed.tasks.map((task, index) => [task, index]));
    const tasksByTag = new Map<number, number>();
    const { upper } = bed;
    const taskByTag = upper.taskByTag.bind(upper);
    upper.taskByTag = (tag) => {
      const task = taskByTag(tag);
      if (task !== null) tasksByTag.set(tag, indexOf.get(task)!);
      return task;
    };
    upper.onPdu = ({ tag }) => startNext(tasksByTag.get(tag)!);
    for (let index = 0; index < 8; index++) startNext(index);
    await upper.received(total);
    await settle();
    const { transmit, rdma, device } = bed.connection;
    expect(bed.tasks.every((task) => !task.isActive)).toBe(true);
    expect(rdma.uncoveredCount).toBeLessThan(32);
    expect(transmit.freeDescriptorCount + rdma.uncoveredCount).toBeLessThanOrEqual(8 + 192);
    expect(transmit.freeDescriptorCount + rdma.uncoveredCount).toBeGreaterThanOrEqual(192);
    if (invalidates) {
      expect(rdma.registrationPool!.size).toBe(8);
      expect(rdma.registrationPool!.free).toHaveLength(8);
      for (const { resources } of rdma.registrationPool!.all) {
        expect(resources.mrValid).toBe(false);
        expect(resources.region!.isValid).toBe(false);
      }
    } else {
      expect(device.registrationOps.name).toBe('pool');
    }
  });
});

describe('fast registration', () => {
  it('draws another key for every command', async () => {
    bed = await IserBed.fullFeature();
    const keys = new Set<number>();
    for (let round = 1; round <= 50; round++) {
      bed.upper.read(bed.tasks[0]!, round, bed.slab, 0, 4096);
      const pdu = await bed.far.received(round);
      keys.add(pdu.header.readStag);
      bed.respond(pdu, true);
      await bed.upper.received(round);
    }
    expect(keys.size).toBe(50);
  });

  it.each([
    ['and invalidates', true],
    ['and does not invalidate', false],
  ])('closes the buffer to a target that answered %s', async (_, invalidate) => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    const pdu = await bed.far.received(1);
    const { readStag, readAddressHigh, readAddressLow } = pdu.header;
    const write = (fill: number): Promise<WorkStatus> =>
      bed.far.write(readStag, readAddressHigh, readAddressLow, Buffer.alloc(16, fill));
    expect(await write(0x11)).toBe(WorkStatus.success);
    expect(bed.slab.bytes[0]).toBe(0x11);
    bed.respond(pdu, invalidate);
    await bed.upper.received(1);
    expect(await write(0xff)).not.toBe(WorkStatus.success);
    const error = await bed.upper.ended;
    expect(error).toMatchObject({ code: 'iser-disconnected' });
    expect(bed.slab.bytes.includes(0xff)).toBe(false);
  });

  it('has revoked the key by the time that iSCSI hears of the response', async () => {
    bed = await IserBed.fullFeature();
    const pool = bed.connection.rdma.registrationPool!;
    bed.upper.finishesOnResponse = false;
    let validAtResponse = -1;
    bed.upper.onPdu = () => {
      validAtResponse = [...pool.all].filter(({ resources }) => resources.region!.isValid).length;
    };
    bed.upper.write(bed.tasks[0]!, 1, bed.slab, 0, 65_536);
    const pdu = await bed.far.received(1);
    expect([...pool.all].filter(({ resources }) => resources.region!.isValid)).toHaveLength(1);
    bed.respond(pdu, false);
    await bed.upper.received(1);
    expect(validAtResponse).toBe(0);
  });

  it('opens to a target no more than the command, in its direction', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 4096, 4096);
    const { header } = await bed.far.received(1);
    const { readStag, readAddressHigh, readAddressLow } = header;
    const write = bed.far.write(readStag, readAddressHigh, readAddressLow, Buffer.alloc(4096, 1));
    expect(await write).toBe(WorkStatus.success);
    expect(await bed.far.read(readStag, readAddressHigh, readAddressLow, 16)).toBeNull();
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
  });

  it('that writes cannot be written by the target', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.write(bed.tasks[0]!, 1, bed.slab, 4096, 65_536);
    const { header } = await bed.far.received(1);
    const { writeStag, writeAddressHigh, writeAddressLow } = header;
    const bytes = Buffer.alloc(4096, 0xee);
    const write = bed.far.write(writeStag, writeAddressHigh, writeAddressLow, bytes);
    expect(await write).not.toBe(WorkStatus.success);
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
    expect(bed.slab.bytes.includes(bytes)).toBe(false);
  });

  it('revokes at once the key of a command that is given up', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    const { header } = await bed.far.received(1);
    const { readStag, readAddressHigh, readAddressLow } = header;
    const write = (fill: number): Promise<WorkStatus> =>
      bed.far.write(readStag, readAddressHigh, readAddressLow, Buffer.alloc(16, fill));
    expect(await write(0x11)).toBe(WorkStatus.success);
    const late = write(0xff);
    bed.upper.finish(1);
    expect(bed.tasks[0]!.isActive).toBe(false);
    expect(await late).not.toBe(WorkStatus.success);
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
    expect(bed.slab.bytes.includes(0xff)).toBe(false);
  });

  it('goes on after commands that were given up, and has as many regions as before', async () => {
    bed = await IserBed.fullFeature();
    for (let round = 1; round <= 30; round++) {
      bed.upper.read(bed.tasks[round % 8]!, round, bed.slab, 0, 4096);
      await bed.far.received(round);
      bed.upper.finish(round);
    }
    bed.upper.read(bed.tasks[0]!, 99, bed.slab, 0, 4096);
    const pdu = await bed.far.received(31);
    bed.respond(pdu, true);
    await bed.upper.received(1);
    const pool = bed.connection.rdma.registrationPool!;
    expect(pool.size).toBe(8);
    expect(pool.free).toHaveLength(8);
  });

  it('never opens a buffer whose command was given up before it was sent', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.upper.finish(1);
    // Its REG_MR finds no region, which ends the connection before the key could become valid.
    expect(await bed.upper.ended).not.toBeNull();
    expect(bed.far.pdus).toHaveLength(0);
  });
});

it.each([
  ['one byte past it', 4096, 4097],
  ['as long as a slab', 4096, 100_000],
])('a target that writes %s ends the connection and touches nothing', async (_, length, bytes) => {
  bed = await IserBed.fullFeature();
  bed.upper.read(bed.tasks[0]!, 1, bed.slab, 4096, length);
  const { readStag, readAddressHigh, readAddressLow } = (await bed.far.received(1)).header;
  await bed.far.write(readStag, readAddressHigh, readAddressLow, Buffer.alloc(bytes, 0xff));
  expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
  expect(bed.slab.bytes.includes(0xff)).toBe(false);
});

describe('the registration pool', () => {
  it('advertises the key of the slab, and the address of the command in it', async () => {
    bed = await IserBed.fullFeature({ module: { registration: 'pool' } });
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.upper.write(bed.tasks[1]!, 2, bed.slab, 8192, 16_384);
    const first = (await bed.far.received(1)).header;
    const second = (await bed.far.received(2)).header;
    expect(second.writeStag).toBe(first.readStag);
    const distance =
      (second.writeAddressHigh - first.readAddressHigh) * 2 ** 32 +
      (second.writeAddressLow - first.readAddressLow);
    expect(distance).toBe(8192);
  });

  it('ends the connection of a target that sends Send with Invalidate, which was not agreed on', async () => {
    bed = await IserBed.fullFeature({ module: { registration: 'pool' } });
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.respond(await bed.far.received(1), true);
    expect(await bed.upper.ended).not.toBeNull();
    expect(bed.upper.pdus).toHaveLength(0);
  });
});

describe('Send with Invalidate', () => {
  it('for the key of another command ends the connection', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.upper.read(bed.tasks[1]!, 2, bed.slab, 4096, 4096);
    const other = (await bed.far.received(2)).header.readStag;
    bed.far.send(bhsOf(Op.response, 1), undefined, other);
    const error = await bed.upper.ended;
    expect(error).toMatchObject({ code: 'iser-protocol' });
    expect(error!.message).toContain('did not advertise');
    expect(bed.upper.pdus).toHaveLength(0);
  });

  it('for a command that is not outstanding ends the connection', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    const key = (await bed.far.received(1)).header.readStag;
    bed.far.send(bhsOf(Op.response, 77), undefined, key);
    const error = await bed.upper.ended;
    expect(error).toMatchObject({ code: 'iser-protocol' });
    expect(error!.message).toContain('not outstanding');
  });

  it('with something else than a SCSI response ends the connection', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    const key = (await bed.far.received(1)).header.readStag;
    bed.far.send(bhsOf(Op.nopIn, 1), undefined, key);
    expect((await bed.upper.ended)!.message).toContain('for a NOP-In');
  });

  it('that was not agreed on ends the connection', async () => {
    bed = await IserBed.fullFeature({ peer: { privateData: Uint8Array.of(0xc0, 0, 0, 0) } });
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.respond(await bed.far.received(1), true);
    expect((await bed.upper.ended)!.message).toContain('not agreed on');
  });

  it('of a key that never was ends the connection', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    await bed.far.received(1);
    bed.far.send(bhsOf(Op.response, 1), undefined, 0x12345678);
    expect(await bed.upper.ended).not.toBeNull();
    expect(bed.upper.pdus).toHaveLength(0);
  });
});

describe('a response', () => {
  it('for no command of ours goes up, where it is judged', async () => {
    bed = await IserBed.fullFeature();
    bed.far.send(bhsOf(Op.response, 0xabcd));
    expect(await bed.upper.received(1)).toMatchObject({ opcode: Op.response, tag: 0xabcd });
  });

  it('with sense data brings it up whole', async () => {
    bed = await IserBed.fullFeature();
    const sense = Buffer.from(Array.from({ length: 98 }, (_, at) => at));
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    await bed.far.received(1);
    bed.far.send(bhsOf(Op.response, 1, 98), sense);
    expect((await bed.upper.received(1)).data.equals(sense)).toBe(true);
  });

  it('that comes before its immediate data is known to have left waits for that', async () => {
    bed = await IserBed.fullFeature();
    bed.slab.bytes.fill(0x5a, 0, 4096);
    let gathersAtResponse = -1;
    bed.upper.onPdu = () => {
      gathersAtResponse = bed.connection.rdma.uncoveredCount;
    };
    // The target answers a command that it has not seen yet.
    bed.far.send(bhsOf(Op.response, 1));
    bed.upper.writeImmediate(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    await bed.upper.received(1);
    expect(gathersAtResponse).toBe(0);
    expect((await bed.far.received(1)).data.equals(Buffer.alloc(4096, 0x5a))).toBe(true);
    expect(bed.connection.state).toBe('up');
  });
});

describe('immediate data', () => {
  it('is all of a write or nothing', async () => {
    bed = await IserBed.fullFeature();
    const data = { slab: bed.slab, offset: 0, length: 8192 };
    expect(() => bed.upper.command(bed.tasks[0]!, 1, DataDirection.out, data, 4096)).toThrow(
      'all of a write or nothing',
    );
  });

  it('ends the connection if its command is given up while it is still being sent', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.writeImmediate(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.upper.finish(1);
    bed.slab.bytes.fill(0xee);
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-send-abandoned' });
    expect(bed.far.pdus).toHaveLength(0);
  });
});
