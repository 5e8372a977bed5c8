import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { NbdExport } from '../../src/nbd/export.js';
import { TlsGate } from '../../src/nbd/tls.js';
import { CMD, OPT, infoData, option, request } from '../support/nbd/client.js';
import type { NbdTestClient } from '../support/nbd/client.js';
import { NbdBed } from '../support/nbd/bed.js';
import type { NbdBedOptions } from '../support/nbd/bed.js';
import { RamDevice } from '../support/nbd/device.js';
import {
  CERTIFICATE,
  EVERYTHING,
  MUTUAL,
  PSK,
  keyOf,
  offered,
  pem,
  pskClient,
  required,
  tlsPath,
  x509Client,
} from '../support/nbd/tls.js';
import { settle, turn, until } from '../support/waiting.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const [ACK, SERVER] = [1, 2];
const [ERR_INVALID, ERR_TLS_REQD, ERR_UNKNOWN, ERR_SHUTDOWN] = [
  0x80000003, 0x80000005, 0x80000006, 0x80000007,
];

let bed: NbdBed;
const secured: NbdTestClient[] = [];

function open(options: NbdBedOptions): NbdBed {
  bed = new NbdBed(options);
  return bed;
}

afterEach(async () => {
  for (const client of secured.splice(0)) await client.close();
  await bed.dispose();
});

/** A client that has greeted, on a Unix socket or on TCP. */
async function greeted(where: 'tcp' | 'unix' = 'unix'): Promise<NbdTestClient> {
  const address = await (where === 'tcp' ? bed.listenTcp() : bed.listenUnix());
  const client = await bed.connect(address);
  await client.greet();
  return client;
}

async function types(client: NbdTestClient, number: number, data?: Uint8Array): Promise<number[]> {
  client.send(option(number, data));
  return (await client.optionReplies()).map(({ type }) => type);
}

async function startTls(plain: NbdTestClient, options: ConnectionOptions): Promise<NbdTestClient> {
  expect(await types(plain, OPT.startTls)).toEqual([ACK]);
  const client = await plain.secure(options);
  secured.push(client);
  return client;
}

/** Resolves when the server has thrown the client out, on which of the two handshakes' sides ever it notices. */
async function isRefused(plain: NbdTestClient, options: ConnectionOptions): Promise<boolean> {
  try {
    const client = await startTls(plain, options);
    client.send(option(OPT.list));
    await client.optionReplies();
    return false;
  } catch {
    return true;
  }
}

async function listed(client: NbdTestClient): Promise<string[]> {
  client.send(option(OPT.list));
  const replies = await client.optionReplies();
  return replies
    .filter(({ type }) => type === SERVER)
    .map(({ data }) => data.subarray(4, 4 + data.readUInt32BE(0)).toString());
}

async function attach(client: NbdTestClient, name = ''): Promise<void> {
  const replies = await types(client, OPT.go, infoData(name));
  expect(replies.at(-1)).toBe(ACK);
}

describe('a connection over TLS', () => {
  it.each(['tcp', 'unix'] as const)('serves as one without does, on %s', async (where) => {
    open({ tls: offered() });
    const client = await startTls(await greeted(where), x509Client());
    await attach(client, 'disk');
    const data = Buffer.alloc(MIB / 2, 0x5a);
    expect(await client.call({ command: CMD.write, offset: 7, data })).toMatchObject({ error: 0 });
    const read = await client.call({ command: CMD.read, offset: 7, length: data.length });
    expect(read.data.equals(data)).toBe(true);
    expect(bed.counter('nbd_tls_total')).toBe(1);
    expect((client.socket as TLSSocket).getProtocol()).toBe('TLSv1.3');
  });

  it('is not held to its greeting: EXPORT_NAME keeps the client flags of before', async () => {
    open({ tls: required() });
    const client = await startTls(await greeted(), x509Client());
    client.send(option(OPT.exportName, Buffer.from('disk')));
    expect(await client.read(10)).toHaveLength(10);
    expect(await client.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('speaks TLS 1.2 as well, and nothing older', async () => {
    open({ tls: offered() });
    const old = { ...x509Client(), maxVersion: 'TLSv1.2' } as const;
    const client = await startTls(await greeted(), old);
    expect((client.socket as TLSSocket).getProtocol()).toBe('TLSv1.2');
    await attach(client);
    const older = {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL@SECLEVEL=0',
    } as const;
    const refused = await bed.connect(await bed.listenTcp());
    await refused.greet();
    expect(await isRefused(refused, { ...x509Client(), ...older })).toBe(true);
  });

  it('does not use a slot again before its bytes are encrypted and gone', async () => {
    const classes = [{ slotBytes: 64 * KIB, slotsMax: 4, slotsPerSlab: 1 }];
    open({ tls: offered(), classes });
    for (let at = 0; at < MIB; at += 4) bed.device.bytes.writeUInt32BE(at, at);
    const client = await startTls(await greeted(), x509Client());
    await attach(client);
    client.socket.pause();
    const count = 400;
    for (let index = 0; index < count; index++) {
      const offset = (index * 64 * KIB) % MIB;
      client.send(request({ command: CMD.read, offset, length: 64 * KIB, cookie: BigInt(index) }));
    }
    await until(() => bed.counter('nbd_stalls_total', { export: 'disk' }) > 0);
    await settle();
    expect(bed.pool.usedCount).toBeLessThanOrEqual(2);
    expect(bed.device.seen.length).toBeLessThan(count);
    client.socket.resume();
    for (let index = 0; index < count; index++) {
      const { error, cookie } = await client.simpleReply();
      const data = await client.read(64 * KIB);
      const offset = (Number(cookie) * 64 * KIB) % MIB;
      expect(error).toBe(0);
      expect(data.equals(bed.device.bytes.subarray(offset, offset + 64 * KIB))).toBe(true);
    }
    await until(() => bed.pool.usedCount === 0);
  });

  it('ends in order after DISC, and when the client leaves', async () => {
    open({ tls: offered() });
    const first = await startTls(await greeted(), x509Client());
    await attach(first);
    first.send(request({ command: CMD.flush, cookie: 1n }), request({ command: CMD.disc }));
    expect(await first.simpleReply()).toEqual({ error: 0, cookie: 1n });
    await first.ended;
    first.socket.end();
    await until(() => bed.server.connectionCount === 0);
    expect(bed.counter('nbd_protocol_errors_total')).toBe(0);
  });

  it('is drained like any other when the server stops', async () => {
    open({ tls: offered() });
    bed.device.holds = true;
    const client = await startTls(await greeted(), x509Client());
    await attach(client);
    client.send(request({ command: CMD.read, length: 512, cookie: 9n }));
    await until(() => bed.device.held.length === 1);
    const closing = bed.server.close({ drainMs: 1000 });
    bed.device.complete();
    expect(await client.simpleReply()).toEqual({ error: 0, cookie: 9n });
    await client.read(512);
    await client.ended;
    client.socket.end();
    await closing;
  });
});

describe('STARTTLS', () => {
  it('refuses plain text that was sent behind it, before a byte of it is used', async () => {
    open({ tls: offered() });
    const client = await greeted();
    const injected = option(OPT.exportName, Buffer.from('disk'));
    client.send(option(OPT.startTls), injected);
    await client.ended;
    expect(bed.counter('nbd_protocol_errors_total')).toBe(1);
    await until(() => bed.server.connectionCount === 0);
    expect(bed.device.seen).toEqual([]);
  });

  it('takes plain text that comes after its ACK for a failed TLS handshake', async () => {
    open({ tls: required() });
    const client = await greeted();
    expect(await types(client, OPT.startTls)).toEqual([ACK]);
    client.send(option(OPT.go, infoData('disk')));
    await client.ended;
    await until(() => bed.server.connectionCount === 0);
    expect(bed.counter('nbd_tls_total')).toBe(0);
    expect(bed.counter('nbd_handshakes_failed_total')).toBe(1);
  });

  it('forgets what was agreed on before it', async () => {
    open({ tls: offered() });
    const plain = await greeted();
    await types(plain, OPT.structured);
    const client = await startTls(plain, x509Client());
    await attach(client);
    // A simple reply: structured replies would have to be asked for again.
    expect(await client.call({ command: CMD.read, length: 16 })).toMatchObject({ error: 0 });
  });

  it('is refused on a connection that uses TLS already', async () => {
    open({ tls: offered() });
    const client = await startTls(await greeted(), x509Client());
    expect(await types(client, OPT.startTls)).toEqual([ERR_INVALID]);
    await attach(client);
  });

  it('has the handshake deadline for TLS, too', async () => {
    open({ tls: offered(), limits: { handshakeMs: 1000 } });
    const client = await greeted();
    expect(await types(client, OPT.startTls)).toEqual([ACK]);
    bed.clock.advance(999);
    expect(bed.server.connectionCount).toBe(1);
    bed.clock.advance(1);
    await client.ended;
    await until(() => bed.server.connectionCount === 0);
  });

  it('gives no second handshake’s time for one that has TLS in it', async () => {
    open({ tls: offered(), limits: { handshakeMs: 1000 } });
    const plain = await greeted();
    bed.clock.advance(600);
    const client = await startTls(plain, x509Client());
    bed.clock.advance(400);
    await client.ended;
    await until(() => bed.server.connectionCount === 0);
  });

  it('is no way past a server that stops', async () => {
    open({ tls: offered() });
    const client = await greeted();
    const closing = bed.server.close({ drainMs: 1000 });
    await turn();
    expect(await types(client, OPT.startTls)).toEqual([ERR_SHUTDOWN]);
    await client.close();
    await closing;
  });
});

describe('a server that requires TLS', () => {
  it('answers nothing but STARTTLS and ABORT without it', async () => {
    open({ tls: required() });
    const client = await greeted();
    for (const number of [OPT.list, OPT.info, OPT.go, OPT.structured, 9, 10, 11, 77]) {
      expect(await types(client, number, infoData('disk'))).toEqual([ERR_TLS_REQD]);
    }
    expect(await types(client, OPT.list, Buffer.alloc(20_000))).toEqual([ERR_TLS_REQD]);
    expect(await types(client, OPT.abort)).toEqual([ACK]);
    await client.ended;
  });

  it('closes on EXPORT_NAME without it, for that has no way to say no', async () => {
    open({ tls: required() });
    const client = await greeted();
    client.send(option(OPT.exportName, Buffer.from('disk')));
    await expect(client.read(1)).rejects.toThrow(/closed/);
    expect(bed.device.seen).toEqual([]);
  });
});

describe('client certificates', () => {
  it('are accepted from the authority, and nobody without one is', async () => {
    open({ tls: required(MUTUAL) });
    const alice = await startTls(await greeted(), x509Client('alice'));
    expect(await listed(alice)).toEqual(['disk']);
    for (const options of [x509Client(), x509Client('stranger')]) {
      const other = await bed.connect(await bed.listenTcp());
      await other.greet();
      expect(await isRefused(other, options)).toBe(true);
    }
    expect(bed.counter('nbd_tls_total')).toBe(1);
  });
});

describe('pre-shared keys', () => {
  it.each(['TLSv1.3', 'TLSv1.2'] as const)('let in who has one, with %s', async (version) => {
    open({ tls: required(PSK) });
    const options = { ...pskClient('carol'), minVersion: version, maxVersion: version };
    const client = await startTls(await greeted(), options);
    expect((client.socket as TLSSocket).getProtocol()).toBe(version);
    expect(await listed(client)).toEqual(['disk']);
  });

  it.each([
    ['an identity that is not in the file', pskClient('mallory', keyOf('carol'))],
    ['the wrong key', pskClient('carol', keyOf('dave'))],
  ])('keep out %s', async (_who, options) => {
    open({ tls: required(PSK) });
    expect(await isRefused(await greeted(), options)).toBe(true);
    expect(bed.counter('nbd_tls_total')).toBe(0);
  });
});

describe('exports with a rule', () => {
  const rule = { certificates: null, psk: null, networks: null };

  function openRuled(gate: TlsGate): void {
    const device = new RamDevice(MIB);
    open({
      tls: gate,
      defaultExport: 'for-alice',
      exports: [
        new NbdExport({ name: 'for-all', device }),
        new NbdExport({ name: 'for-alice', device, allow: { ...rule, certificates: ['alice'] } }),
        new NbdExport({ name: 'for-carol', device, allow: { ...rule, psk: ['carol'] } }),
        new NbdExport({ name: 'for-local', device, allow: { ...rule, networks: ['unix'] } }),
      ],
    });
  }

  it('are there for those whom the rule names, and for nobody else', async () => {
    openRuled(offered(EVERYTHING));
    const path = await bed.listenUnix();
    const connect = async (options: ConnectionOptions): Promise<NbdTestClient> => {
      const plain = await bed.connect(path);
      await plain.greet();
      return startTls(plain, options);
    };
    const alice = await connect(x509Client('alice'));
    const bob = await connect(x509Client('bob'));
    const carol = await connect(pskClient('carol'));
    expect(await listed(alice)).toEqual(['for-all', 'for-alice', 'for-local']);
    expect(await listed(bob)).toEqual(['for-all', 'for-local']);
    expect(await listed(carol)).toEqual(['for-all', 'for-carol', 'for-local']);
    expect(await types(bob, OPT.go, infoData('for-alice'))).toEqual([ERR_UNKNOWN]);
    expect(await types(bob, OPT.info, infoData('for-carol'))).toEqual([ERR_UNKNOWN]);
    expect(await types(bob, OPT.go, infoData(''))).toEqual([ERR_UNKNOWN]);
    await attach(alice, '');
    await attach(carol, 'for-carol');
    bob.send(option(OPT.exportName, Buffer.from('for-alice')));
    await expect(bob.read(1)).rejects.toThrow(/closed/);
  });

  it('ask a client without TLS to get it, whether they exist or not', async () => {
    openRuled(offered(EVERYTHING));
    const client = await greeted('tcp');
    expect(await listed(client)).toEqual(['for-all']);
    expect(await types(client, OPT.go, infoData('for-alice'))).toEqual([ERR_TLS_REQD]);
    expect(await types(client, OPT.info, infoData('nobody'))).toEqual([ERR_TLS_REQD]);
    await attach(client, 'for-all');
  });

  it('are not had by offering an identity and proving a certificate', async () => {
    openRuled(offered(EVERYTHING));
    // The identity is known, but its key needs SHA-256, and the client offers SHA-384 only: the server asks for
    // the key, and then goes on with certificates.
    const options = {
      ...x509Client('bob'),
      ...pskClient('carol'),
      ciphers: 'TLS_AES_256_GCM_SHA384',
    };
    const client = await startTls(await greeted(), options);
    expect(await listed(client)).toEqual(['for-all', 'for-local']);
  });

  it('are decided by address on TCP', async () => {
    openRuled(offered(EVERYTHING));
    const alice = await startTls(await greeted('tcp'), x509Client('alice'));
    expect(await listed(alice)).toEqual(['for-all', 'for-alice']);
  });
});

describe('reloading', () => {
  it('gives new connections the new certificate, and leaves the old connections alone', async () => {
    const folder = await open({}).folder();
    await bed.server.close({ drainMs: 0 });
    const files = {
      ...CERTIFICATE,
      certificate: join(folder, 'c.pem'),
      key: join(folder, 'k.pem'),
    };
    await copyFile(tlsPath('server-cert.pem'), files.certificate);
    await copyFile(tlsPath('server-key.pem'), files.key);
    const gate = required(files);
    open({ tls: gate });
    const path = await bed.listenUnix();
    const serial = async (): Promise<[string, NbdTestClient]> => {
      const plain = await bed.connect(path);
      await plain.greet();
      const client = await startTls(plain, x509Client());
      return [(client.socket as TLSSocket).getPeerCertificate().serialNumber, client];
    };
    const [before, first] = await serial();
    await attach(first);
    await copyFile(tlsPath('renewed-cert.pem'), files.certificate);
    // The key is still the old one: the pair is refused, and the old pair stays.
    expect(() => gate.reload()).toThrow(/cannot be used/);
    expect((await serial())[0]).toBe(before);
    await copyFile(tlsPath('renewed-key.pem'), files.key);
    gate.reload();
    expect((await serial())[0]).not.toBe(before);
    expect(await first.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });
});

describe('the files of TLS', () => {
  const none = { certificate: null, key: null, ca: null, psk: null };

  it.each([
    ['nothing', none, /needs a certificate/],
    ['a certificate without its key', { ...CERTIFICATE, key: null }, /needs its key/],
    ['an authority without a certificate', { ...none, ca: tlsPath('ca-cert.pem') }, /needs a cert/],
    ['an authority beside keys alone', { ...PSK, ca: tlsPath('ca-cert.pem') }, /--tls-cert/],
    ['a key of another', { ...CERTIFICATE, key: tlsPath('alice-key.pem') }, /cannot be used/],
    ['a missing file', { ...CERTIFICATE, key: '/nowhere.pem' }, /cannot read the TLS key/],
    ['no authority', { ...CERTIFICATE, ca: tlsPath('server-key.pem') }, /no certificate in PEM/],
    ['no keys', { ...none, psk: tlsPath('make.sh') }, /line 1/],
  ])('are refused when there is %s', (_what, files, message) => {
    open({});
    expect(() => new TlsGate({ required: true, files })).toThrow(message);
  });

  it('are never quoted in what is said of them', async () => {
    const path = join(await open({}).folder(), 'secret.psk');
    const secret = pem('keys.psk').toString().replace(':8f', ':xy');
    await writeFile(path, secret);
    const files = { ...none, psk: path };
    try {
      new TlsGate({ required: true, files });
      expect.unreachable();
    } catch (error) {
      expect(String(error)).toMatch(/line 1/);
      expect(String(error)).not.toMatch(/f2d0c1b9/);
    }
  });
});
