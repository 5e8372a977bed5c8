import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { DataSocket } from '../../src/socket/data-socket.js';
import { pem } from '../support/nbd/tls.js';
import { settle, turn, until } from '../support/waiting.js';

const MIB = 1024 * 1024;

let server: Server;
let served: DataSocket;
let client: Socket;

afterEach(async () => {
  served.destroy();
  client.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

interface Received {
  text: string;
  bytes: number;
  error: Error | null;
  closed: boolean;
}

/** A plain connection; `reading` leaves the server's side nothing but 'data' events. */
async function open(reading: boolean): Promise<Received> {
  server = createServer({ pauseOnConnect: !reading, allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined);
  const received: Received = { text: '', bytes: 0, error: null, closed: false };
  served = DataSocket.adopt(await accepted, {
    onBytes: (buffer, length) => {
      received.bytes += length;
      received.text = (received.text + buffer.toString('latin1', 0, length)).slice(-100);
    },
    onClose: (error) => {
      received.error = error;
      received.closed = true;
    },
  });
  return received;
}

function secureServed(secured: () => void = () => undefined): void {
  served.upgrade((plain, done) => {
    const tls = createTlsServer({ cert: pem('server-cert.pem'), key: pem('server-key.pem') });
    tls.on('secureConnection', (stream) => {
      done(stream);
      secured();
    });
    tls.on('tlsClientError', (error) => plain.destroy(error));
    tls.emit('connection', plain);
  });
}

function secureClient(): Promise<TLSSocket> {
  return new Promise((resolve) => {
    const secured: TLSSocket = connectTls(
      { socket: client, ca: pem('ca-cert.pem'), servername: 'localhost' },
      () => resolve(secured),
    );
    secured.on('error', () => undefined);
  });
}

describe.each([
  ['into one buffer', false],
  ['by events', true],
])('a socket that receives %s, and goes over to TLS', (_, reading) => {
  it('sends what was written before in plain text, and the rest encrypted', async () => {
    const received = await open(reading);
    client.write('go ahead');
    await until(() => received.bytes === 8);
    served.write(Buffer.from('ACK'));
    secureServed();
    await new Promise<void>((resolve) =>
      client.once('data', (bytes) => {
        expect(bytes.toString()).toBe('ACK');
        resolve();
      }),
    );
    const secured = await secureClient();
    secured.write('secret');
    await until(() => received.text.endsWith('secret'));
    expect(received.bytes).toBe(14);
    served.write(Buffer.from('answer'));
    const answer = await new Promise<Buffer>((resolve) => secured.once('data', resolve));
    expect(answer.toString()).toBe('answer');
    secured.end();
    await until(() => received.closed);
    expect(received.error).toBeNull();
  });

  it('closes with the reason when the handshake fails', async () => {
    const received = await open(reading);
    secureServed();
    client.write('this is no TLS handshake, and never will be');
    await until(() => received.closed);
    expect(received.error?.message).toMatch(/wrong version|ssl|tls|unknown protocol|record/i);
    expect(received.bytes).toBe(0);
  });

  it('receives nothing in plain text once it was asked to go over', async () => {
    const received = await open(reading);
    client.write('before');
    await until(() => received.bytes === 6);
    secureServed();
    client.write('GO disk');
    await until(() => received.closed);
    expect(received.bytes).toBe(6);
  });
});

describe('writing over TLS', () => {
  it('tells the owner when the encrypted bytes have left, and the buffer may be used again', async () => {
    await open(false);
    const isSecured = new Promise<void>((resolve) => secureServed(resolve));
    const secured = await secureClient();
    await isSecured;
    const pieces = 16;
    let told = 0;
    // More than the connection holds: the last pieces wait until the client reads.
    for (let index = 0; index < pieces; index++) {
      const bytes = Buffer.alloc(2 * MIB, index + 1);
      const flushed = (): void => {
        told++;
        bytes.fill(0xff);
      };
      served.write(bytes, { flushed });
      expect(told).toBeLessThan(index + 1);
      await turn();
    }
    await settle();
    expect(told).toBeLessThan(pieces);
    let received = 0;
    const wrong: number[] = [];
    secured.on('data', (bytes: Buffer) => {
      for (let at = 0; at < bytes.length; at += 509) {
        const expected = Math.floor((received + at) / (2 * MIB)) + 1;
        if (bytes[at] !== expected) wrong.push(received + at);
      }
      received += bytes.length;
    });
    await until(() => received === pieces * 2 * MIB && told === pieces);
    expect(wrong).toEqual([]);
    secured.destroy();
  });

  it('tells every owner once when the connection is lost', async () => {
    const received = await open(false);
    const isSecured = new Promise<void>((resolve) => secureServed(resolve));
    const secured = await secureClient();
    await isSecured;
    const counts = [0, 0, 0, 0];
    for (const index of counts.keys()) {
      served.write(Buffer.alloc(8 * MIB), {
        flushed: () => (counts[index] = (counts[index] ?? 0) + 1),
      });
      await turn();
    }
    secured.destroy();
    await until(() => received.closed);
    await settle();
    expect(counts).toEqual([1, 1, 1, 1]);
  });
});
