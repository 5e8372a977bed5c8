import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataSocket, detachHandle } from '../../src/socket/data-socket.js';
import type { DataSocketHandler, Flushable } from '../../src/socket/data-socket.js';
import { settle, turn, turns, until } from '../support/waiting.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Collects what a socket tells, and lets tests wait for it. */
class Recorder implements DataSocketHandler {
  bytes = Buffer.alloc(0);
  /** The receive buffers as they came, to see whether they are used again. */
  readonly buffers = new Set<Buffer>();
  events: string[] = [];
  error: Error | null = null;
  onEach: () => void = () => undefined;

  onBytes(buffer: Buffer, length: number): void {
    this.buffers.add(buffer);
    this.bytes = Buffer.concat([this.bytes, buffer.subarray(0, length)]);
    this.onEach();
  }
  onConnect(): void {
    this.events.push('connect');
    this.onEach();
  }
  onDrain(): void {
    this.events.push('drain');
    this.onEach();
  }
  onEnd(): void {
    this.events.push('end');
    this.onEach();
  }
  onClose(error: Error | null): void {
    this.events.push('close');
    this.error = error;
    this.onEach();
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.onEach = () => {
        if (condition()) resolve();
      };
      this.onEach();
    });
  }

  untilEvent(name: string): Promise<void> {
    return this.until(() => this.events.includes(name));
  }
}

/** Counts how often it was told. */
class Mark implements Flushable {
  count = 0;
  readonly told: Promise<void>;
  #tell: () => void = () => undefined;

  constructor() {
    this.told = new Promise((resolve) => (this.#tell = resolve));
  }

  flushed(): void {
    this.count++;
    this.#tell();
  }
}

let server: Server;
let sockets: DataSocket[] = [];

beforeEach(() => {
  sockets = [];
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

interface Pair {
  readonly client: DataSocket;
  readonly clientSide: Recorder;
  readonly served: DataSocket;
  readonly serverSide: Recorder;
}

/** Both ends of a connection. `reading`: the server reads before we adopt, so that only events are left. */
async function pair({ reading = false } = {}): Promise<Pair> {
  server = createServer({ pauseOnConnect: !reading, allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const { port } = server.address() as AddressInfo;
  const clientSide = new Recorder();
  const client = DataSocket.connect({ host: '127.0.0.1', port }, clientSide);
  const serverSide = new Recorder();
  const served = DataSocket.adopt(await accepted, serverSide);
  sockets.push(client, served);
  await clientSide.untilEvent('connect');
  return { client, clientSide, served, serverSide };
}

describe.each([
  ['into one buffer', false],
  ['by events', true],
])('a socket that receives %s', (_, reading) => {
  it('carries bytes both ways, in order', async () => {
    const { client, clientSide, served, serverSide } = await pair({ reading });
    client.write(Buffer.from('hello '));
    client.write(Buffer.from('server'));
    await serverSide.until(() => serverSide.bytes.length === 12);
    expect(serverSide.bytes.toString()).toBe('hello server');
    served.write(Buffer.from('hello client'));
    await clientSide.until(() => clientSide.bytes.length === 12);
    expect(clientSide.bytes.toString()).toBe('hello client');
  });

  it('receives nothing while it is paused, from within the handler too', async () => {
    const { client, served, serverSide } = await pair({ reading });
    let received = 0;
    const handler: DataSocketHandler = {
      onBytes: (_buffer, length) => {
        received += length;
        served.pause();
        serverSide.onEach();
      },
      onClose: () => undefined,
    };
    served.handler = handler;
    const mark = new Mark();
    client.write(Buffer.alloc(MIB), mark);
    await serverSide.until(() => received > 0);
    const before = received;
    await settle();
    expect(received).toBe(before);
    expect(received).toBeLessThan(MIB);
    handler.onBytes = (_buffer, length) => {
      received += length;
      serverSide.onEach();
    };
    served.resume();
    await serverSide.until(() => received === MIB);
    await mark.told;
  });
});

describe('receiving', () => {
  it('uses one buffer for everything', async () => {
    const { client, serverSide } = await pair();
    for (let count = 0; count < 5; count++) {
      client.write(Buffer.alloc(100 * KIB));
      await serverSide.until(() => serverSide.bytes.length === (count + 1) * 100 * KIB);
    }
    expect(serverSide.buffers.size).toBe(1);
  });
});

describe('writing', () => {
  it('sends what is written in one turn together, in order', async () => {
    const { client, serverSide } = await pair();
    const pieces = Array.from({ length: 200 }, (_, index) => Buffer.from(`${index},`));
    for (const piece of pieces) client.write(piece);
    const whole = Buffer.concat(pieces);
    let deliveries = 0;
    await serverSide.until(() => {
      deliveries++;
      return serverSide.bytes.length === whole.length;
    });
    expect(serverSide.bytes.equals(whole)).toBe(true);
    // One call looks at what was there before anything arrived.
    expect(deliveries).toBeLessThanOrEqual(3);
  });

  it('tells an owner that its bytes have left, once and not before write returned', async () => {
    const { client } = await pair();
    const marks = [new Mark(), new Mark(), new Mark()];
    for (const mark of marks) client.write(Buffer.alloc(10), mark);
    expect(marks.map(({ count }) => count)).toEqual([0, 0, 0]);
    await Promise.all(marks.map(({ told }) => told));
    expect(marks.map(({ count }) => count)).toEqual([1, 1, 1]);
    expect(client.queuedBytes).toBe(0);
  });

  it('does not tell an owner while the peer leaves its bytes, and then drains', async () => {
    const { client, clientSide, served, serverSide } = await pair();
    served.pause();
    const first = new Mark();
    client.write(Buffer.alloc(10), first);
    await first.told;
    const mark = new Mark();
    // More than a loopback connection holds.
    client.write(Buffer.alloc(32 * MIB, 0x5a), mark);
    await settle();
    expect(mark.count).toBe(0);
    expect(client.queuedBytes).toBe(32 * MIB);
    let received = 0;
    served.handler = {
      onBytes: (_buffer, length) => {
        received += length;
        serverSide.onEach();
      },
      onClose: () => undefined,
    };
    served.resume();
    await serverSide.until(() => received === 32 * MIB + 10);
    await mark.told;
    await clientSide.untilEvent('drain');
    expect(client.queuedBytes).toBe(0);
  });

  it('sends short bytes as they were, however long they have to wait and whoever uses them again', async () => {
    const { client, served, serverSide } = await pair();
    served.pause();
    client.write(Buffer.alloc(16 * MIB, '='));
    const expected: Buffer[] = [Buffer.alloc(16 * MIB, '=')];
    let told = 0;
    for (let batch = 0; batch < 8; batch++) {
      for (let index = 0; index < 60; index++) {
        const text = `${batch}.${index} `.repeat(1 + (index % 4));
        const bytes = index % 7 === 6 ? Buffer.alloc(300, text) : Buffer.from(text);
        expected.push(Buffer.from(bytes));
        client.write(bytes, {
          flushed: () => {
            bytes.fill(0xff);
            told++;
          },
        });
      }
      await turn();
    }
    expect(told).toBe(0);
    const whole = Buffer.concat(expected);
    expect(client.queuedBytes).toBe(whole.length);
    const received: Buffer[] = [];
    let receivedBytes = 0;
    served.handler = {
      onBytes: (buffer, length) => {
        received.push(Buffer.from(buffer.subarray(0, length)));
        receivedBytes += length;
        serverSide.onEach();
      },
      onClose: () => undefined,
    };
    served.resume();
    await serverSide.until(() => receivedBytes === whole.length);
    expect(Buffer.concat(received).equals(whole)).toBe(true);
    await until(() => told >= 480);
    expect(told).toBe(480);
  });

  it('tells every owner once when the connection is lost', async () => {
    const { client, clientSide, served } = await pair();
    served.pause();
    const marks = Array.from({ length: 6 }, () => new Mark());
    for (const [index, mark] of marks.entries()) {
      client.write(Buffer.alloc(8 * MIB), mark);
      // Several batches: one with the system, others behind it, the last not handed down yet.
      if (index < 5) await turn();
    }
    client.destroy(new Error('enough'));
    await clientSide.untilEvent('close');
    await Promise.all(marks.map(({ told }) => told));
    await turns(5);
    expect(marks.map(({ count }) => count)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(clientSide.error?.message).toBe('enough');
  });

  it('after the end, or after the close, tells the owner and sends nothing', async () => {
    const { client, clientSide, served, serverSide } = await pair();
    client.write(Buffer.from('last'));
    client.endWriting();
    const afterEnd = new Mark();
    client.write(Buffer.from('late'), afterEnd);
    expect(afterEnd.count).toBe(0);
    await afterEnd.told;
    await serverSide.untilEvent('end');
    expect(serverSide.bytes.toString()).toBe('last');
    served.end();
    await clientSide.untilEvent('close');
    expect(client.isClosed).toBe(true);
    const afterClose = new Mark();
    client.write(Buffer.from('later'), afterClose);
    await afterClose.told;
  });
});

describe('the end', () => {
  it('of writing leaves the other direction open, and the socket closes when both have ended', async () => {
    const { client, clientSide, served, serverSide } = await pair();
    client.write(Buffer.from('question'));
    client.endWriting();
    await serverSide.untilEvent('end');
    served.write(Buffer.from('answer'));
    served.endWriting();
    await clientSide.untilEvent('close');
    await serverSide.untilEvent('close');
    expect(clientSide.bytes.toString()).toBe('answer');
    expect(clientSide.error).toBeNull();
    expect(serverSide.error).toBeNull();
  });

  it('closes in both directions after what was queued has left', async () => {
    const { client, clientSide, serverSide } = await pair();
    client.write(Buffer.alloc(MIB));
    client.end();
    await clientSide.untilEvent('close');
    await serverSide.untilEvent('end');
    expect(serverSide.bytes).toHaveLength(MIB);
  });

  it('by a peer that resets is an error', async () => {
    const { client, served, serverSide } = await pair();
    served.write(Buffer.from('x'));
    await turn();
    // Closing with unread bytes makes the kernel reset the connection.
    client.pause();
    served.write(Buffer.alloc(MIB));
    await turn();
    client.destroy();
    await serverSide.untilEvent('close');
    expect(serverSide.error).toMatchObject({ syscall: expect.any(String) as string });
  });

  it('of a connection that never came up is told with its reason', async () => {
    server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    const recorder = new Recorder();
    const socket = DataSocket.connect({ host: '127.0.0.1', port }, recorder);
    await recorder.untilEvent('close');
    expect(recorder.events).toEqual(['close']);
    expect(recorder.error).toMatchObject({ code: 'ECONNREFUSED' });
    expect(socket.isClosed).toBe(true);
  });
});

describe('a handle without its socket', () => {
  it('is adopted with all that had arrived before, and can be let go instead', async () => {
    server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    for (const isAdopted of [true, false]) {
      const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
      const clientSide = new Recorder();
      const client = DataSocket.connect({ host: '127.0.0.1', port }, clientSide);
      sockets.push(client);
      client.write(Buffer.from('early'));
      const handle = detachHandle(await accepted);
      expect(handle?.reading).not.toBe(true);
      if (handle === null) throw new Error('no handle');
      if (isAdopted) {
        const serverSide = new Recorder();
        sockets.push(DataSocket.adopt(handle, serverSide));
        await serverSide.until(() => serverSide.bytes.toString() === 'early');
      } else {
        handle.close();
        await clientSide.until(() => clientSide.events.some((event) => event !== 'connect'));
      }
    }
  });
});

describe('an adopted socket', () => {
  it('is no longer counted by the server that accepted it', async () => {
    await pair();
    const count = await new Promise<number>((resolve, reject) =>
      server.getConnections((error, connections) =>
        error === null ? resolve(connections) : reject(error),
      ),
    );
    expect(count).toBe(0);
  });

  it('knows its peer’s name, also after the close', async () => {
    const { client, served, serverSide } = await pair();
    expect(served.remoteName).toMatch(/^127\.0\.0\.1:\d+$/);
    const { remoteName } = served;
    client.destroy();
    await serverSide.untilEvent('end');
    served.destroy();
    await serverSide.untilEvent('close');
    expect(served.remoteName).toBe(remoteName);
  });
});

describe.runIf(process.platform === 'linux')('keep-alive', () => {
  /** The idle time that is left before the kernel probes, as its table has it: `02:` and hundredths of a second. */
  function secondsUntilProbe({ inode }: DataSocket): number {
    const lines = readFileSync('/proc/self/net/tcp', 'utf8').split('\n');
    const columns = lines.map((line) => line.trim().split(/\s+/));
    const timer = columns.find((line) => line[9] === String(inode))?.[5] ?? '';
    expect(timer).toMatch(/^02:/);
    return parseInt(timer.slice(3), 16) / 100;
  }

  it('is on at both ends, a minute by default', async () => {
    const { client, served } = await pair();
    for (const socket of [client, served]) {
      const seconds = secondsUntilProbe(socket);
      expect(seconds).toBeGreaterThan(40);
      expect(seconds).toBeLessThanOrEqual(60);
    }
  });

  it('is as long as its owner says, now and later', async () => {
    const { served } = await pair();
    served.keepAlive(7_200_000);
    expect(secondsUntilProbe(served)).toBeGreaterThan(7000);
    served.keepAlive(600_000);
    expect(secondsUntilProbe(served)).toBeLessThanOrEqual(600);
    served.destroy();
    expect(() => served.keepAlive(1000)).not.toThrow();
  });
});

describe('any sequence of writes', () => {
  it('arrives whole, in order, and every owner is told once', async () => {
    const pieces = fc.array(
      fc.record({
        length: fc.oneof(fc.integer({ min: 0, max: 80 }), fc.integer({ min: 1, max: 200 * KIB })),
        endsTurn: fc.boolean(),
      }),
      { minLength: 1, maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(pieces, async (writes) => {
        const { client, served, serverSide } = await pair();
        const marks: Mark[] = [];
        const sent: Buffer[] = [];
        for (const [index, { length, endsTurn }] of writes.entries()) {
          const bytes = Buffer.alloc(length, index + 1);
          const mark = new Mark();
          sent.push(bytes);
          marks.push(mark);
          client.write(bytes, mark);
          if (endsTurn) await turn();
        }
        const whole = Buffer.concat(sent);
        await serverSide.until(() => serverSide.bytes.length === whole.length);
        await Promise.all(marks.map(({ told }) => told));
        expect(serverSide.bytes.equals(whole)).toBe(true);
        expect(marks.every(({ count }) => count === 1)).toBe(true);
        client.destroy();
        served.destroy();
        await new Promise<void>((resolve) => server.close(() => resolve()));
      }),
      { numRuns: 15 },
    );
    server = createServer();
  });
});
