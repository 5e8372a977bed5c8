import { afterEach, describe, expect, it } from 'vitest';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import { NbdExport } from '../../src/nbd/export.js';
import { CMD, OPT, infoData, option, request } from '../support/nbd/client.js';
import { NbdBed } from '../support/nbd/bed.js';
import type { NbdBedOptions } from '../support/nbd/bed.js';
import { RamDevice } from '../support/nbd/device.js';
import { until } from '../support/waiting.js';

const MIB = 1024 * 1024;
const ERR_SHUTDOWN = 0x80000007;

let bed: NbdBed;

function open(options?: NbdBedOptions): NbdBed {
  bed = new NbdBed(options);
  return bed;
}

afterEach(() => bed.dispose());

describe('a server', () => {
  it('serves several exports, by name, over TCP and over a Unix socket', async () => {
    const names = ['eins', 'zwei', 'größe'];
    const exports = names.map((name, index) => {
      const device = new RamDevice(MIB);
      device.bytes.fill(index + 1);
      return new NbdExport({ name, device });
    });
    open({ exports });
    for (const address of [await bed.listenTcp(), await bed.listenUnix()]) {
      for (const [index, name] of names.entries()) {
        const client = await bed.attach(address, name);
        const { error, data } = await client.call({ command: CMD.read, offset: 5, length: 3 });
        expect(error).toBe(0);
        expect(data).toEqual(Buffer.alloc(3, index + 1));
        await client.close();
      }
    }
    await until(() => bed.server.connectionCount === 0);
    expect(bed.counter('nbd_connections_total')).toBe(6);
  });

  it('shows what one connection wrote and flushed to every other', async () => {
    const address = await open().listenUnix();
    const writer = await bed.attach(address);
    const reader = await bed.attach(address);
    const data = Buffer.alloc(MIB / 2, 0x77);
    expect(await writer.call({ command: CMD.write, offset: 4096, data })).toMatchObject({
      error: 0,
    });
    expect(await writer.call({ command: CMD.flush })).toMatchObject({ error: 0 });
    const read = await reader.call({ command: CMD.read, offset: 4096, length: data.length });
    expect(read.data.equals(data)).toBe(true);
  });

  it('enters the transmission phase by EXPORT_NAME as well', async () => {
    const client = await open()
      .listenUnix()
      .then((address) => bed.connect(address));
    await client.greet(1);
    client.send(option(OPT.exportName, Buffer.from('disk')));
    expect(await client.read(134)).toHaveLength(134);
    expect(await client.call({ command: CMD.read, length: 512 })).toMatchObject({ error: 0 });
  });

  it('carries on for a client whose device fails', async () => {
    const client = await open()
      .listenUnix()
      .then((address) => bed.attach(address));
    bed.device.status = BlockStatus.ioError;
    expect(await client.call({ command: CMD.read, length: 512 })).toMatchObject({ error: 5 });
    bed.device.status = BlockStatus.ok;
    expect(await client.call({ command: CMD.read, length: 512 })).toMatchObject({ error: 0 });
  });

  it('closes the connection of a client that sends garbage, and no other', async () => {
    const address = await open().listenUnix();
    const good = await bed.attach(address);
    const bad = await bed.attach(address);
    const noise = await bed.connect(address);
    bad.send(Buffer.alloc(28, 0x42));
    noise.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await Promise.all([bad.ended, noise.ended]);
    expect(bed.counter('nbd_protocol_errors_total')).toBe(2);
    expect(await good.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('closes after DISC, and after answering what came before it', async () => {
    const client = await open()
      .listenUnix()
      .then((address) => bed.attach(address));
    client.send(request({ command: CMD.flush, cookie: 1n }), request({ command: CMD.disc }));
    expect(await client.simpleReply()).toEqual({ error: 0, cookie: 1n });
    await client.ended;
    client.socket.end();
    await client.closed;
    await until(() => bed.server.connectionCount === 0);
  });

  it('finishes and answers what is in flight for a client that has sent its last byte', async () => {
    open();
    bed.device.holds = true;
    const client = await bed.listenTcp().then((address) => bed.attach(address));
    client.socket.end(request({ command: CMD.read, length: 512, cookie: 3n }));
    await until(() => bed.device.held.length === 1);
    bed.device.complete();
    expect(await client.simpleReply()).toEqual({ error: 0, cookie: 3n });
    expect(await client.read(512)).toHaveLength(512);
    await client.ended;
    await until(() => bed.server.connectionCount === 0);
  });

  it('gives every buffer back when a client vanishes in the middle of a write', async () => {
    open();
    bed.device.holds = true;
    const client = await bed.listenUnix().then((address) => bed.attach(address));
    const write = request({ command: CMD.write, data: Buffer.alloc(100_000) });
    client.send(request({ command: CMD.read, length: 5000 }), write, write.subarray(0, 50_000));
    await until(() => bed.device.held.length === 2 && bed.pool.usedCount === 3);
    await client.close();
    await until(() => bed.pool.usedCount === 2);
    expect(bed.server.connectionCount).toBe(1);
    bed.device.completeAll();
    await until(() => bed.pool.usedCount === 0 && bed.server.connectionCount === 0);
    expect(bed.device.seen).toHaveLength(2);
  });
});

describe('a limit', () => {
  it('on connections refuses the next one, and admits again when one has gone', async () => {
    const address = await open({ limits: { connectionsMax: 2 } }).listenUnix();
    const first = await bed.attach(address);
    await bed.attach(address);
    await expect(bed.attach(address)).rejects.toThrow('GO was refused');
    expect(bed.counter('nbd_connections_refused_total')).toBe(1);
    await first.close();
    await until(() => bed.server.connectionCount === 1);
    const fourth = await bed.attach(address);
    expect(await fourth.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('on the handshake cuts off a client that does not choose, and none that has chosen', async () => {
    const address = await open({ limits: { handshakeMs: 1000, stallMs: 9000 } }).listenUnix();
    const quick = await bed.attach(address);
    const slow = await bed.connect(address);
    await slow.greet();
    slow.send(option(OPT.list).subarray(0, 7));
    bed.clock.advance(999);
    expect(bed.server.connectionCount).toBe(2);
    bed.clock.advance(1);
    await slow.ended;
    expect(bed.counter('nbd_handshakes_failed_total')).toBe(1);
    expect(await quick.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('on a stall cuts off a client that stops within a write, and no idle one', async () => {
    const address = await open({ limits: { stallMs: 1000 } }).listenUnix();
    const idle = await bed.attach(address);
    const stuck = await bed.attach(address);
    const write = request({ command: CMD.write, data: Buffer.alloc(100) });
    stuck.send(write.subarray(0, 60));
    await until(() => bed.pool.usedCount === 1);
    bed.clock.advance(1000);
    // It went on during the first period, and gets another one.
    expect(bed.pool.usedCount).toBe(1);
    bed.clock.advance(1000);
    await stuck.ended;
    await until(() => bed.pool.usedCount === 0);
    expect(await idle.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('on a stall cuts off a client that sends a byte now and then', async () => {
    const address = await open({ limits: { stallMs: 1000 } }).listenUnix();
    const client = await bed.attach(address);
    const write = request({ command: CMD.write, data: Buffer.alloc(100) });
    client.send(write.subarray(0, 60));
    await until(() => bed.pool.usedCount === 1);
    bed.clock.advance(999);
    await client.sendAll(write.subarray(60, 61));
    bed.clock.advance(1);
    await client.sendAll(write.subarray(61, 62));
    bed.clock.advance(1000);
    await client.ended;
    await until(() => bed.pool.usedCount === 0);
  });

  it('on a stall spares a client whose message began just before the deadline', async () => {
    const address = await open({ limits: { stallMs: 1000 } }).listenUnix();
    const client = await bed.attach(address);
    bed.clock.advance(999);
    const write = request({ command: CMD.write, data: Buffer.alloc(100) });
    client.send(write.subarray(0, 60));
    await until(() => bed.pool.usedCount === 1);
    bed.clock.advance(1);
    client.send(write.subarray(60));
    expect(await client.simpleReply()).toMatchObject({ error: 0 });
  });

  it('on lingering cuts off a client that does not close after DISC', async () => {
    const address = await open({ limits: { lingerMs: 500 } }).listenUnix();
    const client = await bed.attach(address);
    client.send(request({ command: CMD.disc }));
    await client.ended;
    expect(bed.server.connectionCount).toBe(1);
    bed.clock.advance(500);
    await until(() => bed.server.connectionCount === 0);
  });
});

describe('closing the server', () => {
  it('answers what is in flight, reads nothing more, and ends in an orderly way', async () => {
    const address = await open().listenTcp();
    bed.device.holds = true;
    const client = await bed.attach(address);
    client.send(request({ command: CMD.read, length: 512, cookie: 1n }));
    await until(() => bed.device.held.length === 1);
    const closing = bed.server.close({ drainMs: 5000 });
    await expect(bed.connect(address)).rejects.toThrow();
    // More than a socket takes that nobody reads: these are lost, and the client finds it out by the end.
    const more = Buffer.alloc(64 * 1024, 7);
    for (let cookie = 2n; cookie < 200n; cookie++) {
      client.send(request({ command: CMD.write, data: more, cookie }));
    }
    bed.device.complete();
    expect(await client.simpleReply()).toEqual({ error: 0, cookie: 1n });
    await client.read(512);
    await client.ended;
    await expect(client.read(1)).rejects.toThrow(/closed/);
    expect(bed.device.seen).toHaveLength(1);
    client.socket.end();
    await closing;
    expect(bed.pool.usedCount).toBe(0);
    expect(bed.clock.armedCount).toBe(0);
  });

  it('ends idle connections at once', async () => {
    const address = await open().listenUnix();
    const clients = [await bed.attach(address), await bed.attach(address)];
    const closing = bed.server.close({ drainMs: 5000 });
    for (const client of clients) {
      await client.ended;
      client.socket.end();
    }
    await closing;
  });

  it('tells a client in the handshake to go, and cuts it off if it stays', async () => {
    const address = await open({ limits: { handshakeDrainMs: 100 } }).listenUnix();
    const [polite, rude] = [await bed.connect(address), await bed.connect(address)];
    await polite.greet();
    await rude.greet();
    const closing = bed.server.close({ drainMs: 5000 });
    await until(() => bed.clock.armedCount === 3);
    polite.send(option(OPT.go, infoData('disk')));
    expect(await polite.optionReplies()).toMatchObject([{ option: OPT.go, type: ERR_SHUTDOWN }]);
    polite.send(option(OPT.abort));
    expect(await polite.optionReplies()).toMatchObject([{ option: OPT.abort, type: 1 }]);
    polite.socket.end();
    await polite.ended;
    bed.clock.advance(100);
    await rude.ended;
    await closing;
  });

  it('cuts off what has not finished in time, and leaves the device its requests', async () => {
    const address = await open().listenUnix();
    bed.device.holds = true;
    const client = await bed.attach(address);
    client.send(request({ command: CMD.read, length: 512, cookie: 1n }));
    await until(() => bed.device.held.length === 1);
    const closing = bed.server.close({ drainMs: 100 });
    await until(() => bed.clock.armedCount === 2);
    bed.clock.advance(100);
    await client.ended;
    await closing;
    expect(bed.pool.usedCount).toBe(1);
    bed.device.complete();
    expect(bed.pool.usedCount).toBe(0);
  });

  it('twice is the same as once', async () => {
    await open().listenUnix();
    await Promise.all([bed.server.close({ drainMs: 0 }), bed.server.close({ drainMs: 10 })]);
  });
});

describe('commands over a socket', () => {
  it('do on the device what they say', async () => {
    const client = await open()
      .listenTcp()
      .then((address) => bed.attach(address));
    bed.device.bytes.fill(0xff);
    await client.call({ command: CMD.writeZeroes, offset: 512, length: 512 });
    await client.call({ command: CMD.trim, offset: 2048, length: 512 });
    await client.call({ command: CMD.cache, length: 4096 });
    const { data } = await client.call({ command: CMD.read, length: 4096 });
    const expected = Buffer.alloc(4096, 0xff).fill(0, 512, 1024).fill(0, 2048, 2560);
    expect(data.equals(expected)).toBe(true);
    expect(bed.device.seen.map(({ op }) => op)).toEqual([
      BlockOp.writeZeroes,
      BlockOp.trim,
      BlockOp.cache,
      BlockOp.read,
    ]);
  });
});
