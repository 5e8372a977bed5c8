import { describe, expect, it } from 'vitest';
import { BlockOp } from '../../src/block/device.js';
import { CMD, request } from '../support/nbd/client.js';
import { TransmissionBed as Bed, slots } from '../support/nbd/transmission-bed.js';
import { turn } from '../support/waiting.js';

const KIB = 1024;

describe('holding the client back', () => {
  it('happens when its requests run out, and it goes on where it stopped', () => {
    const bed = new Bed({ limits: { inFlightMax: 2 } });
    const reads = [1n, 2n, 3n, 4n].map((cookie) =>
      request({ command: CMD.read, length: 4, offset: Number(cookie) * 4, cookie }),
    );
    bed.receive(...reads);
    expect(bed.device.held).toHaveLength(2);
    expect(bed.isPaused).toBe(true);
    bed.device.completeAll();
    expect(bed.device.held).toHaveLength(0);
    bed.flush(1);
    expect(bed.device.held).toHaveLength(1);
    expect(bed.isPaused).toBe(true);
    bed.flush(1);
    expect(bed.device.held).toHaveLength(2);
    expect(bed.isPaused).toBe(false);
    bed.settle();
    for (const cookie of [1, 2, 3, 4]) {
      expect(bed.reply(4).data.readUInt32BE(0)).toBe(cookie * 4);
    }
    expect(bed.counter('nbd_stalls_total')).toBe(1);
  });

  it('happens when the buffer slots run out, until somebody gives one back', async () => {
    const bed = new Bed({ classes: slots(1) });
    const other = bed.pool.acquire(1);
    const data = Buffer.alloc(100, 0xab);
    const bytes = Buffer.concat([
      request({ command: CMD.flush, cookie: 1n }),
      request({ command: CMD.write, data, cookie: 2n }),
      request({ command: CMD.flush, cookie: 3n }),
    ]);
    // Cut in the payload: the rest arrives after the pause has ended.
    bed.receive(bytes.subarray(0, 90));
    expect(bed.isPaused).toBe(true);
    expect(bed.device.seen.map(({ op }) => op)).toEqual([BlockOp.flush]);
    other?.release();
    await new Promise((resolve) => process.nextTick(resolve));
    expect(bed.isPaused).toBe(false);
    bed.receive(bytes.subarray(90));
    expect(bed.device.seen.map(({ op }) => op)).toEqual([
      BlockOp.flush,
      BlockOp.write,
      BlockOp.flush,
    ]);
    bed.settle();
    expect(bed.device.bytes.subarray(0, 100)).toEqual(data);
    expect(bed.pool.usedCount).toBe(0);
  });

  it('keeps a header that arrived in pieces', async () => {
    const bed = new Bed({ classes: slots(1) });
    const other = bed.pool.acquire(1);
    const bytes = request({ command: CMD.read, length: 4, offset: 8, cookie: 9n });
    bed.receive(bytes.subarray(0, 10));
    bed.receive(bytes.subarray(10), bytes);
    expect(bed.isPaused).toBe(true);
    other?.release();
    await new Promise((resolve) => process.nextTick(resolve));
    bed.settle();
    await new Promise((resolve) => process.nextTick(resolve));
    bed.settle();
    expect(bed.reply(4)).toMatchObject({ cookie: 9n, error: 0 });
    expect(bed.reply(4)).toMatchObject({ cookie: 9n, error: 0 });
  });

  it('happens when the client leaves its replies, until half of them are gone', () => {
    const bed = new Bed({ limits: { queuedBytesMax: 2 * (KIB + 16) } });
    const read = request({ command: CMD.read, length: KIB });
    bed.receive(read, read);
    bed.device.completeAll();
    bed.receive(read);
    expect(bed.isPaused).toBe(true);
    expect(bed.device.held).toHaveLength(0);
    bed.flush(1);
    expect(bed.isPaused).toBe(false);
    expect(bed.device.held).toHaveLength(1);
  });

  it('ends the connection of a client that sends on all the same', () => {
    const bed = new Bed({ limits: { inFlightMax: 1 } });
    bed.receive(request({ command: CMD.flush }), request({ command: CMD.flush }));
    bed.receive(Buffer.alloc(200 * KIB));
    expect(bed.violation).toBeNull();
    bed.receive(Buffer.alloc(100 * KIB));
    expect(bed.violation?.code).toBe('nbd-flood');
  });

  it('does not hold back a disconnect', () => {
    const bed = new Bed({ limits: { inFlightMax: 1 } });
    bed.receive(request({ command: CMD.flush }), request({ command: CMD.disc }));
    expect(bed.isPaused).toBe(false);
    bed.settle();
    expect(bed.idleCount).toBe(1);
  });
});

describe('a slot and a reply header', () => {
  it('are not used again before their bytes have left', () => {
    const bed = new Bed({ classes: slots(1), limits: { inFlightMax: 2 } });
    bed.receive(request({ command: CMD.read, length: 4, offset: 4, cookie: 1n }));
    bed.device.complete();
    expect(bed.pool.usedCount).toBe(1);
    bed.receive(request({ command: CMD.read, length: 4, offset: 8, cookie: 2n }));
    expect(bed.device.held).toHaveLength(0);
    bed.flush();
    expect(bed.pool.usedCount).toBe(0);
    expect(bed.reply(4).data.readUInt32BE(0)).toBe(4);
  });

  it('of a write: the slot is free once the device is done, the header once the reply has left', () => {
    const bed = new Bed({ limits: { inFlightMax: 1 } });
    bed.receive(request({ command: CMD.write, data: Buffer.alloc(4), cookie: 1n }));
    bed.device.complete();
    expect(bed.pool.usedCount).toBe(0);
    bed.receive(request({ command: CMD.flush, cookie: 2n }));
    expect(bed.device.held).toHaveLength(0);
    bed.flush();
    expect(bed.device.held).toHaveLength(1);
    expect(bed.reply().cookie).toBe(1n);
  });
});

describe('the end', () => {
  it('after DISC comes when everything is answered, and nothing behind DISC is read', () => {
    const bed = new Bed();
    bed.receive(
      request({ command: CMD.read, length: 4, cookie: 1n }),
      request({ command: CMD.disc }),
      request({ command: CMD.read, length: 4, cookie: 2n }),
    );
    expect(bed.idleCount).toBe(0);
    bed.device.complete();
    expect(bed.idleCount).toBe(0);
    bed.flush();
    expect(bed.idleCount).toBe(1);
    expect(bed.device.seen).toHaveLength(1);
  });

  it('after the client’s last byte comes when everything is answered', () => {
    const bed = new Bed({ limits: { inFlightMax: 1 } });
    bed.receive(
      request({ command: CMD.flush, cookie: 1n }),
      request({ command: CMD.flush, cookie: 2n }),
    );
    bed.transmission.peerEnded();
    bed.settle();
    expect([bed.reply().cookie, bed.reply().cookie]).toEqual([1n, 2n]);
    expect(bed.idleCount).toBe(1);
  });

  it('drops a write that did not arrive whole', () => {
    const bed = new Bed();
    bed.receive(request({ command: CMD.write, data: Buffer.alloc(100) }).subarray(0, 100));
    expect(bed.pool.usedCount).toBe(1);
    bed.transmission.peerEnded();
    expect(bed.pool.usedCount).toBe(0);
    expect(bed.device.seen).toEqual([]);
    expect(bed.idleCount).toBe(1);
  });

  it('of a lost connection gives every buffer back, whatever it was in the middle of', () => {
    const bed = new Bed({ classes: slots(3) });
    const read = request({ command: CMD.read, length: 4 });
    bed.receive(read, read);
    bed.device.complete();
    bed.receive(request({ command: CMD.write, data: Buffer.alloc(100) }).subarray(0, 50));
    expect(bed.pool.usedCount).toBe(3);
    bed.flush();
    bed.transmission.abort();
    expect(bed.pool.usedCount).toBe(1);
    expect(bed.idleCount).toBe(0);
    bed.device.complete();
    expect(bed.sent).toEqual([]);
    expect(bed.pool.usedCount).toBe(0);
    expect(bed.idleCount).toBe(1);
  });

  it('of the server comes when what is in flight is answered, and nothing more is read', () => {
    const bed = new Bed();
    const write = request({ command: CMD.write, data: Buffer.alloc(100), cookie: 2n });
    bed.receive(request({ command: CMD.flush, cookie: 1n }), write.subarray(0, 50));
    bed.transmission.drain();
    expect(bed.isPaused).toBe(true);
    // Whatever a socket may still deliver.
    bed.receive(write.subarray(50), request({ command: CMD.trim, length: 512, cookie: 3n }));
    expect(bed.idleCount).toBe(0);
    bed.settle();
    expect(bed.isPaused).toBe(true);
    expect(bed.idleCount).toBe(1);
    expect(bed.device.seen.map(({ op }) => op)).toEqual([BlockOp.flush]);
    expect(bed.output).toHaveLength(16);
    expect(bed.reply()).toMatchObject({ error: 0, cookie: 1n });
    expect(bed.pool.usedCount).toBe(0);
  });

  it('of the server answers what was read and had to wait: for requests, for replies to leave', () => {
    const bed = new Bed({ limits: { inFlightMax: 2, queuedBytesMax: 2 * KIB } });
    const count = 20;
    for (let cookie = 0; cookie < count; cookie++) {
      bed.receive(
        request({ command: CMD.read, length: KIB, offset: cookie * 4, cookie: BigInt(cookie) }),
      );
    }
    expect(bed.device.held).toHaveLength(2);
    bed.transmission.drain();
    bed.settle();
    for (let cookie = 0; cookie < count; cookie++) {
      const reply = bed.reply(KIB);
      expect(reply).toMatchObject({ error: 0, cookie: BigInt(cookie) });
      expect(reply.data.readUInt32BE(0)).toBe(cookie * 4);
    }
    expect(bed.isPaused).toBe(true);
    expect(bed.idleCount).toBe(1);
  });

  it('of the server answers what was read and had to wait: for a buffer', async () => {
    const bed = new Bed({ classes: slots(1) });
    const other = bed.pool.acquire(1);
    bed.receive(
      request({ command: CMD.write, data: Buffer.alloc(100, 0xab), cookie: 1n }),
      request({ command: CMD.write, data: Buffer.alloc(100), offset: 200, cookie: 2n }).subarray(
        0,
        99,
      ),
    );
    bed.transmission.drain();
    expect(bed.idleCount).toBe(0);
    other?.release();
    while (bed.idleCount === 0) {
      await turn();
      bed.settle();
    }
    expect(bed.reply()).toMatchObject({ error: 0, cookie: 1n });
    expect(bed.device.bytes[99]).toBe(0xab);
    // The second one had not arrived whole: nobody has been told that it was done, and it was not.
    expect(bed.device.bytes.readUInt32BE(200)).toBe(200);
    expect(bed.output).toHaveLength(0);
    expect(bed.pool.usedCount).toBe(0);
  });

  it('of the server comes at once when nothing is in flight', () => {
    const bed = new Bed();
    bed.transmission.drain();
    expect(bed.idleCount).toBe(1);
  });
});

describe('waiting for the client', () => {
  it('is seen while a message is half there, or replies are queued', () => {
    const bed = new Bed();
    expect(bed.transmission.awaitsPeer).toBe(false);
    const write = request({ command: CMD.write, data: Buffer.alloc(8) });
    bed.receive(write.subarray(0, 5));
    expect(bed.transmission.awaitsPeer).toBe(true);
    bed.receive(write.subarray(5, 30));
    expect(bed.transmission.awaitsPeer).toBe(true);
    bed.receive(write.subarray(30));
    expect(bed.transmission.awaitsPeer).toBe(false);
    bed.device.complete();
    expect(bed.transmission.awaitsPeer).toBe(true);
    bed.flush();
    expect(bed.transmission.awaitsPeer).toBe(false);
  });
});

describe('a trace', () => {
  it('sees each request and each reply', () => {
    const seen: string[] = [];
    const bed = new Bed({
      trace: {
        requested: ({ command }) => seen.push(`request ${command}`),
        replied: ({ command }, errno) => seen.push(`reply ${command} ${errno}`),
      },
    });
    bed.receive(request({ command: CMD.flush }), request({ command: 99 }));
    bed.settle();
    expect(seen).toEqual(['request 3', 'request 99', 'reply 99 22', 'reply 3 0']);
  });
});
