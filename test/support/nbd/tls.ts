import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { TlsGate } from '../../../src/nbd/tls.js';
import type { TlsFiles } from '../../../src/nbd/tls.js';

const FOLDER = join(import.meta.dirname, '..', '..', 'vectors', 'tls');

export const tlsPath = (name: string): string => join(FOLDER, name);
export const pem = (name: string): Buffer => readFileSync(tlsPath(name));

export const CERTIFICATE: TlsFiles = {
  certificate: tlsPath('server-cert.pem'),
  key: tlsPath('server-key.pem'),
  ca: null,
  psk: null,
};
export const MUTUAL: TlsFiles = { ...CERTIFICATE, ca: tlsPath('ca-cert.pem') };
export const PSK: TlsFiles = { certificate: null, key: null, ca: null, psk: tlsPath('keys.psk') };
export const EVERYTHING: TlsFiles = { ...MUTUAL, psk: tlsPath('keys.psk') };

export function offered(files: TlsFiles = CERTIFICATE): TlsGate {
  return new TlsGate({ required: false, files });
}

export function required(files: TlsFiles = CERTIFICATE): TlsGate {
  return new TlsGate({ required: true, files });
}

/** A client that checks the server's certificate, and has one of its own when it has a name. */
export function x509Client(name?: 'alice' | 'bob' | 'stranger'): ConnectionOptions {
  const own =
    name === undefined ? {} : { cert: pem(`${name}-cert.pem`), key: pem(`${name}-key.pem`) };
  return { ca: pem('ca-cert.pem'), servername: 'localhost', ...own };
}

/** The keys of keys.psk, read without the code under test. */
export function keyOf(identity: string): Buffer {
  const line = pem('keys.psk')
    .toString()
    .split('\n')
    .find((text) => text.startsWith(`${identity}:`));
  return Buffer.from(line?.split(':')[1] ?? '', 'hex');
}

export function pskClient(identity: string, key: Buffer = keyOf(identity)): ConnectionOptions {
  return {
    ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305',
    pskCallback: () => ({ psk: key, identity }),
    checkServerIdentity: () => undefined,
  };
}
