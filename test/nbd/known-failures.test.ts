/** Failures that other servers have had, each under its name; docs/nbd.md has the list, with those tested elsewhere. */
import { afterEach, describe, expect, it } from 'vitest';
import { BlockOp } from '../../src/block/device.js';
import { NbdExport } from '../../src/nbd/export.js';
import { NbdBed } from '../support/nbd/bed.js';
import { CMD, FUA, OPT, infoData, metaData, option, request, u32 } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';
import { until } from '../support/waiting.js';

const MIB = 1024 * 1024;
const [ACK, ERR_INVALID, ERR_UNKNOWN] = [1, 0x80000003, 0x80000006];
const [EINVAL, ENOSPC] = [22, 28];

let bed: NbdBed;
afterEach(() => bed.dispose());

describe('the device', () => {
  it('is not touched before the handshake ends, whatever is asked (CVE-2019-14850)', async () => {
    bed = new NbdBed();
    const client = await bed.connect(await bed.listenUnix());
    await client.greet();
    const questions = [
      [OPT.list, Buffer.alloc(0)],
      [OPT.structured, Buffer.alloc(0)],
      [OPT.listMeta, metaData('disk', [])],
      [OPT.setMeta, metaData('disk', ['base:allocation'])],
      [OPT.info, infoData('disk', [0, 1, 2, 3])],
    ] as const;
    for (const [number, data] of questions) {
      client.send(option(number, data));
      expect((await client.optionReplies()).at(-1)?.type).toBe(ACK);
    }
    expect(bed.device.seen).toEqual([]);
    expect(bed.device.queries).toEqual([]);
  });
});

describe('options in odd orders (CVE-2019-14851)', () => {
  it('are answered one by one, and the last GO counts', async () => {
    bed = new NbdBed();
    const client = await bed.connect(await bed.listenUnix());
    await client.greet();
    const script: [number, Buffer, number][] = [
      [OPT.setMeta, metaData('disk', ['base:allocation']), ERR_INVALID],
      [OPT.info, infoData('nope'), ERR_UNKNOWN],
      [OPT.info, infoData('disk'), ACK],
      [OPT.info, infoData('disk', [3]), ACK],
      [OPT.go, infoData('nope'), ERR_UNKNOWN],
      [OPT.structured, Buffer.alloc(0), ACK],
      [OPT.structured, Buffer.alloc(0), ACK],
      [OPT.setMeta, metaData('nope', ['base:allocation']), ERR_UNKNOWN],
      [OPT.listMeta, metaData('disk', ['base:']), ACK],
      [OPT.info, infoData('disk'), ACK],
      [OPT.go, infoData('disk'), ACK],
    ];
    for (const [number, data, expected] of script) {
      client.send(option(number, data));
      expect((await client.optionReplies()).at(-1)?.type).toBe(expected);
    }
    client.send(request({ command: CMD.read, length: 4 }));
    expect((await client.read(32)).readUInt16BE(6)).toBe(1);
    expect(bed.server.connectionCount).toBe(1);
  });

  it('sent all at once are answered all the same', async () => {
    bed = new NbdBed();
    const client = await bed.connect(await bed.listenUnix());
    await client.read(18);
    client.send(
      u32(3),
      option(OPT.list),
      option(OPT.structured),
      option(OPT.go, infoData('disk')),
      request({ command: CMD.read, length: 4, cookie: 1n }),
    );
    for (let count = 0; count < 3; count++) await client.optionReplies();
    expect((await client.read(32)).readBigUInt64BE(8)).toBe(1n);
  });
});

describe('a FLUSH', () => {
  it('goes to the device behind the writes that were answered on other connections', async () => {
    bed = new NbdBed();
    const address = await bed.listenUnix();
    const [writer, flusher] = [await bed.attach(address), await bed.attach(address)];
    for (let round = 0; round < 10; round++) {
      expect((await writer.call({ command: CMD.write, data: Buffer.alloc(512) })).error).toBe(0);
      expect((await flusher.call({ command: CMD.flush })).error).toBe(0);
    }
    const order = bed.device.seen.map(({ op }) => op);
    expect(order).toEqual(
      Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? BlockOp.write : BlockOp.flush)),
    );
  });

  it('is not answered before the device has done it, nor is a write with FUA', async () => {
    bed = new NbdBed();
    const client = await bed.attach(await bed.listenUnix());
    bed.device.holds = true;
    client.send(request({ command: CMD.flush, cookie: 1n }));
    client.send(request({ command: CMD.write, data: Buffer.alloc(8), flags: FUA, cookie: 2n }));
    client.send(request({ command: CMD.read, length: 0, cookie: 3n }));
    expect((await client.simpleReply()).cookie).toBe(3n);
    await until(() => bed.device.held.length === 2);
    expect(bed.device.held[1]).toMatchObject({ op: BlockOp.write, forceUnitAccess: true });
    bed.device.completeAll();
    expect((await client.simpleReply()).cookie).toBe(1n);
    expect((await client.simpleReply()).cookie).toBe(2n);
  });
});

describe('a disk that changes its size', () => {
  it('has the new size for new connections, and the old one for those that were told it', async () => {
    const device = new RamDevice(MIB);
    bed = new NbdBed({ exports: [new NbdExport({ name: 'disk', device })] });
    const address = await bed.listenUnix();
    const before = await bed.attach(address);
    device.info = { ...device.info, sizeBytes: MIB / 2 };
    const after = await bed.attach(address);
    const last = { offset: MIB - 512, length: 512 };
    const write = { command: CMD.write, offset: MIB - 512, data: Buffer.alloc(512) };
    expect((await before.call({ command: CMD.read, ...last })).error).toBe(0);
    expect((await before.call(write)).error).toBe(0);
    expect((await after.call({ command: CMD.read, ...last })).error).toBe(EINVAL);
    expect((await after.call(write)).error).toBe(ENOSPC);
    expect((await after.call({ command: CMD.read, offset: 0, length: 512 })).error).toBe(0);
    const third = await bed.connect(address);
    await third.greet();
    third.send(option(OPT.info, infoData('disk')));
    const [info] = await third.optionReplies();
    expect(info?.data.readBigUInt64BE(2)).toBe(BigInt(MIB / 2));
  });
});
