import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DataDirection } from '../../src/common/data-direction.js';
import type { TxDescriptor } from '../../src/iser/descriptors.js';
import { commandsThatFit, COMMANDS_MAX, queueSizesFor } from '../../src/iser/limits.js';
import type { SendWorkRequest } from '../../src/transport/verbs.js';
import { WorkCompletion, WorkOpcode } from '../../src/transport/verbs.js';
import { bhsOf, IserBed, Op } from '../support/iser/upper-layer.js';
import { settle } from '../support/waiting.js';

let bed: IserBed | null = null;

afterEach(async () => {
  await bed?.close();
  bed = null;
});

async function fullFeature(
  ...parameters: Parameters<typeof IserBed.fullFeature>
): Promise<IserBed> {
  bed = await IserBed.fullFeature(...parameters);
  return bed;
}

/** Keeps back the completions of Sends until released. */
function stallSendCompletions(of: IserBed): { release(): void } {
  const { rdma } = of.connection;
  const sent = rdma.sent.bind(rdma);
  const kept: TxDescriptor[] = [];
  rdma.sent = (descriptor) => void kept.push(descriptor);
  return {
    release(): void {
      rdma.sent = sent;
      for (const descriptor of kept.splice(0)) sent(descriptor, new WorkCompletion());
    },
  };
}

/** Counts the Sends that are posted, and those of them that are signalled. */
function countSends(of: IserBed): { posted: number; signaled: number } {
  const counts = { posted: 0, signaled: 0 };
  const queuePair = of.connection.rdma.queuePair!;
  const postSend = queuePair.postSend.bind(queuePair);
  vi.spyOn(queuePair, 'postSend').mockImplementation((first: SendWorkRequest) => {
    for (let request: SendWorkRequest | null = first; request !== null; request = request.next) {
      if (request.opcode !== WorkOpcode.send) continue;
      counts.posted++;
      if (request.signaled) counts.signaled++;
    }
    postSend(first);
  });
  return counts;
}

describe('queue sizes', () => {
  it('hold what a connection can post, for any number of commands', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: COMMANDS_MAX }), (commands) => {
        const sizes = queueSizesFor(commands);
        // Each command that can be uncovered posts REG_MR and Send, each active one LOCAL_INV, and control
        // descriptors one Send each.
        expect(sizes.sendRequestsMax).toBe((commands + 64) * 2 + commands + 16);
        expect(sizes.ringReceives - sizes.receiveBatch).toBe(commands + 10);
        expect(sizes.receiveRequestsMax).toBe(sizes.ringReceives + 1);
        expect(sizes.receiveBatch).toBeGreaterThanOrEqual(1);
        expect(sizes.receiveBatch).toBeLessThanOrEqual(32);
      }),
    );
  });

  it('fit the device, with as many commands as possible', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 4000 }),
        (wanted, workRequestsMax) => {
          const commands = commandsThatFit(wanted, workRequestsMax);
          const needed = (count: number): number => {
            const sizes = queueSizesFor(count);
            return Math.max(sizes.sendRequestsMax, sizes.receiveRequestsMax);
          };
          expect(commands).toBeLessThanOrEqual(Math.min(wanted, COMMANDS_MAX));
          if (commands > 0) expect(needed(commands)).toBeLessThanOrEqual(workRequestsMax);
          if (commands < Math.min(wanted, COMMANDS_MAX)) {
            expect(needed(commands + 1)).toBeGreaterThan(workRequestsMax);
          }
        },
      ),
    );
  });
});

describe('signalling', () => {
  it('asks for a completion of one command Send in 32', async () => {
    const { upper, far, tasks } = await fullFeature();
    const counts = countSends(bed!);
    far.onPdu = (pdu) => bed!.respond(pdu, true);
    for (let tag = 1; tag <= 3200; tag++) {
      upper.read(tasks[tag % 8]!, tag, bed!.slab, 0, 4096);
      if (tag % 8 === 0) await upper.received(tag);
    }
    await upper.received(3200);
    expect(counts.posted).toBe(3200);
    expect(counts.signaled).toBe(100);
  });

  it('asks for one of every Send that gathers from data, and of every control PDU', async () => {
    const { upper, connection, far, tasks } = await fullFeature();
    const counts = countSends(bed!);
    far.onPdu = (pdu) => {
      if (pdu.bhs[0] === Op.command) bed!.respond(pdu, false);
      else far.send(bhsOf(Op.nopIn, 99));
    };
    for (let tag = 1; tag <= 50; tag += 2) {
      upper.writeImmediate(tasks[0]!, tag, bed!.slab, 0, 4096);
      connection.sendControl(bhsOf(Op.nopOut, tag + 1), new Uint8Array());
      await upper.received(tag + 1);
    }
    expect(counts).toEqual({ posted: 50, signaled: 50 });
  });

  it('never uses a descriptor again before a completion covers it', async () => {
    const { upper, far, tasks, connection } = await fullFeature({ connect: { commandsMax: 8 } });
    far.onPdu = (pdu) => bed!.respond(pdu, true);
    const stall = stallSendCompletions(bed!);
    const places = new Set<number>();
    for (let tag = 1; tag <= 72; tag++) {
      const task = tasks[tag % 8]!;
      places.add(task.bhsOffset);
      upper.read(task, tag, bed!.slab, 0, 4096);
      await upper.received(tag);
    }
    // 8 commands and 64 uncovered Sends: each had a place of its own.
    expect(places.size).toBe(72);
    expect(connection.rdma.uncoveredCount).toBe(72);
    expect(connection.rdma.hasRoomForCommand).toBe(false);
    stall.release();
    expect(connection.rdma.uncoveredCount).toBe(0);
    expect(connection.rdma.hasRoomForCommand).toBe(true);
  });

  it('lets commands wait, in order, while too many Sends are uncovered', async () => {
    const { upper, far, tasks } = await fullFeature({ connect: { commandsMax: 8 } });
    far.onPdu = (pdu) => bed!.respond(pdu, true);
    const stall = stallSendCompletions(bed!);
    for (let tag = 1; tag <= 72; tag++) {
      upper.read(tasks[tag % 8]!, tag, bed!.slab, 0, 4096);
      await upper.received(tag);
    }
    for (let tag = 101; tag <= 108; tag++) {
      upper.read(tasks[tag - 101]!, tag, bed!.slab, 0, 4096);
    }
    upper.finish(103);
    await settle();
    expect(far.pdus).toHaveLength(72);
    stall.release();
    await upper.received(79);
    expect(far.pdus.slice(72).map((pdu) => pdu.bhs.readUInt32BE(16))).toEqual([
      101, 102, 104, 105, 106, 107, 108,
    ]);
    expect(tasks.every((task) => !task.isActive)).toBe(true);
  });

  it('lets go of a command that waits when the connection ends', async () => {
    const { upper, far, tasks } = await fullFeature({ connect: { commandsMax: 8 } });
    far.onPdu = (pdu) => bed!.respond(pdu, true);
    stallSendCompletions(bed!);
    for (let tag = 1; tag <= 72; tag++) {
      upper.read(tasks[tag % 8]!, tag, bed!.slab, 0, 4096);
      await upper.received(tag);
    }
    upper.read(tasks[0]!, 101, bed!.slab, 0, 4096);
    upper.read(tasks[1]!, 102, bed!.slab, 0, 4096);
    far.disconnect();
    await upper.ended;
    expect(tasks.every((task) => !task.isActive)).toBe(true);
  });
});

describe('control PDUs', () => {
  it('arrive whole, padded to 4 with zeros', async () => {
    const { connection, far } = await fullFeature();
    const data = Uint8Array.from([1, 2, 3, 4, 5]);
    const bhs = bhsOf(Op.nopOut, 7, 5);
    // What an earlier, longer one left must not show.
    for (let count = 0; count < 20; count++) {
      connection.sendControl(bhsOf(Op.nopOut, 6, 64), new Uint8Array(64).fill(0xee));
      await far.received(2 * count + 1);
      connection.sendControl(bhs, data);
      const pdu = await far.received(2 * count + 2);
      expect(pdu.bhs.equals(bhs)).toBe(true);
      expect([...pdu.data]).toEqual([1, 2, 3, 4, 5, 0, 0, 0]);
      await settle();
    }
  });

  it('carry 8192 bytes', async () => {
    const { connection, far } = await fullFeature();
    connection.sendControl(bhsOf(Op.nopOut, 7, 8192), new Uint8Array(8192).fill(0x33));
    expect((await far.received(1)).data.equals(Buffer.alloc(8192, 0x33))).toBe(true);
    expect(() => connection.sendControl(bhsOf(Op.nopOut, 7), new Uint8Array(8193))).toThrow('8193');
  });

  it('that pile up because the target does not take them end the connection', async () => {
    const { connection, upper } = await fullFeature();
    stallSendCompletions(bed!);
    for (let tag = 1; tag <= 16; tag++) {
      connection.sendControl(bhsOf(Op.nopOut, tag), new Uint8Array());
    }
    expect(connection.state).toBe('up');
    connection.sendControl(bhsOf(Op.nopOut, 17), new Uint8Array());
    expect(upper.terminateCount).toBe(0);
    expect(await upper.ended).toMatchObject({ code: 'iser-overrun' });
  });
});

describe('the receive ring', () => {
  it('is posted again in batches, and never has fewer receives than can be needed', async () => {
    const { connection, upper, far } = await fullFeature({ connect: { commandsMax: 8 } });
    const { rdma } = connection;
    const { ringReceives, receiveBatch } = rdma.sizes;
    expect(rdma.postedReceiveCount).toBe(ringReceives);
    const queuePair = rdma.queuePair!;
    const postReceive = vi.spyOn(queuePair, 'postReceive');
    let leastPosted = Infinity;
    upper.onPdu = () => (leastPosted = Math.min(leastPosted, rdma.postedReceiveCount));
    for (let count = 1; count <= 2000; count++) {
      far.send(bhsOf(Op.nopIn, count, 4), Buffer.from([count & 0xff, 0, 0, 0]));
      if (count % 10 === 0) await upper.received(count);
    }
    await upper.received(2000);
    await settle();
    expect(leastPosted).toBeGreaterThanOrEqual(ringReceives - receiveBatch - 10);
    expect(rdma.postedReceiveCount).toBeGreaterThan(ringReceives - receiveBatch);
    expect(postReceive).toHaveBeenCalledTimes(Math.floor(2000 / receiveBatch));
    expect(upper.pdus.map(({ tag }) => tag)).toEqual(
      Array.from({ length: 2000 }, (_, at) => at + 1),
    );
    expect(upper.pdus.every(({ tag, data }) => data[0] === (tag & 0xff))).toBe(true);
  });

  it('takes responses to all commands, answers to all control PDUs and four unasked at once', async () => {
    const { connection, upper, far, tasks } = await fullFeature({ connect: { commandsMax: 8 } });
    // Put the ring where as many as possible wait to be posted again.
    const { receiveBatch } = connection.rdma.sizes;
    for (let count = 1; count < receiveBatch; count++) far.send(bhsOf(Op.nopIn, count));
    await upper.received(receiveBatch - 1);
    upper.pdus.length = 0;
    tasks.forEach((task, index) => upper.command(task, index, DataDirection.none));
    await far.received(8);
    for (const pdu of far.pdus.slice(0, 8)) bed!.respond(pdu, false);
    for (let count = 0; count < 10; count++) far.send(bhsOf(Op.nopIn, 100 + count));
    await upper.received(18);
    expect(connection.state).toBe('up');
  });

  it('takes 8192 data bytes, and one more ends the connection', async () => {
    const { upper, far } = await fullFeature();
    const data = Buffer.alloc(8192, 0x42);
    far.send(bhsOf(Op.textResponse, 1, 8192), data);
    expect((await upper.received(1)).data.equals(data)).toBe(true);
    far.send(bhsOf(Op.textResponse, 1, 8193), Buffer.alloc(8193));
    expect(await upper.ended).toMatchObject({ code: 'iser-disconnected' });
    expect(upper.pdus).toHaveLength(1);
  });
});
