import { afterEach, describe, expect, it } from 'vitest';
import { IwarpTransport } from '../../src/transport/iwarp/transport.js';
import { WorkStatus } from '../../src/transport/verbs.js';
import type { IserBedOptions } from '../support/iser/upper-layer.js';
import { IserBed } from '../support/iser/upper-layer.js';

let bed: IserBed;

afterEach(() => bed.close());

const overTcp: IserBedOptions = {
  transport: () => new IwarpTransport(),
  peer: { host: '127.0.0.1' },
};

describe.each(['fast', 'pool'] as const)('over iWARP, with %s registration', (registration) => {
  it('reads, writes and sends immediate data, many at a time', async () => {
    bed = await IserBed.fullFeature({ ...overTcp, module: { registration } });
    const { slab, upper, far } = bed;
    slab.bytes.forEach((_, at) => (slab.bytes[at] = (at * 31 + (at >> 8)) & 0xff));
    const before = Buffer.from(slab.bytes);
    const wrong: string[] = [];
    far.onPdu = (pdu) => {
      const { header } = pdu;
      const tag = pdu.bhs.readUInt32BE(16);
      const at = (tag % 8) * 32_768;
      const answer = (): void => bed.respond(pdu, registration === 'fast' && tag % 2 === 0);
      if (header.isReadStagValid) {
        const { readStag, readAddressHigh, readAddressLow } = header;
        const data = Buffer.from(before.subarray(at, at + 20_000));
        void far.write(readStag, readAddressHigh, readAddressLow, data);
        answer();
      } else if (header.isWriteStagValid) {
        const { writeStag, writeAddressHigh, writeAddressLow } = header;
        void far.read(writeStag, writeAddressHigh, writeAddressLow, 30_000).then((data) => {
          if (data?.equals(before.subarray(at, at + 30_000)) !== true) wrong.push(`write ${tag}`);
          answer();
        });
      } else {
        if (!pdu.data.equals(before.subarray(at, at + 4096))) wrong.push(`immediate ${tag}`);
        bed.respond(pdu, false);
      }
    };
    for (let round = 0; round < 30; round++) {
      for (let index = 0; index < 8; index++) {
        const tag = round * 8 + index;
        const task = bed.tasks[index]!;
        if (tag % 3 === 0) upper.read(task, tag, slab, index * 32_768, 20_000);
        else if (tag % 3 === 1) upper.write(task, tag, slab, index * 32_768, 30_000);
        else upper.writeImmediate(task, tag, slab, index * 32_768, 4096);
      }
      await upper.received(round * 8 + 8);
    }
    expect(wrong).toEqual([]);
    expect(slab.bytes.equals(before)).toBe(true);
    expect(bed.tasks.every((task) => !task.isActive)).toBe(true);
  });

  it('ends in order, and leaves nothing', async () => {
    bed = await IserBed.fullFeature({ ...overTcp, module: { registration } });
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    await bed.far.received(1);
    await bed.connection.terminate();
    expect(await bed.upper.ended).toBeNull();
    expect(await bed.far.disconnected).toBeNull();
    expect(bed.upper.activeAtEnd).toBe(0);
    expect(bed.module.deviceCount).toBe(0);
  });

  it('fails when the target cuts it off', async () => {
    bed = await IserBed.fullFeature({ ...overTcp, module: { registration } });
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.upper.writeImmediate(bed.tasks[1]!, 2, bed.slab, 0, 4096);
    await bed.far.received(2);
    await bed.far.close();
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
    expect(bed.upper.activeAtEnd).toBe(0);
    await bed.connection.terminate();
    expect(bed.connection.state).toBe('down');
  });
});

it('over iWARP, a target that uses a key after its command is over loses the connection', async () => {
  bed = await IserBed.fullFeature(overTcp);
  bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
  const pdu = await bed.far.received(1);
  bed.respond(pdu, false);
  await bed.upper.received(1);
  const { readStag, readAddressHigh, readAddressLow } = pdu.header;
  const late = bed.far.write(readStag, readAddressHigh, readAddressLow, Buffer.alloc(64, 0xff));
  expect(await bed.upper.ended).not.toBeNull();
  // A Write over iWARP has no answer: it may have completed at the peer.
  expect([WorkStatus.success, WorkStatus.flushed, WorkStatus.remoteAccessError]).toContain(
    await late,
  );
  expect(bed.slab.bytes.includes(0xff)).toBe(false);
});

it('over iWARP, somebody who is not there is unreachable', async () => {
  bed = await IserBed.listening(overTcp);
  const { address } = bed.peer;
  await bed.peer.close();
  await expect(bed.connect({ address })).rejects.toMatchObject({ code: 'iser-unreachable' });
  expect(bed.module.deviceCount).toBe(0);
});
