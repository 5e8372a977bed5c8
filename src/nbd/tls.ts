import { X509Certificate, constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createSecureContext, createServer } from 'node:tls';
import type { TLSSocket, TlsOptions } from 'node:tls';
import { ConfigError, UsageError, messageOf } from '../common/errors.js';
import { certificateNames } from './certificate-names.js';
import { parsePskFile } from './psk-file.js';

/** The paths of the files for TLS: a certificate and its key, or pre-shared keys, or both. */
export interface TlsFiles {
  readonly certificate: string | null;
  readonly key: string | null;
  /** When set, a client without a pre-shared key must have a certificate that one of these authorities issued. */
  readonly ca: string | null;
  readonly psk: string | null;
}

/** The contents of these files. */
export type TlsContents = { readonly [file in keyof TlsFiles]: Buffer | null };

/** What a client has proved in its TLS handshake. */
export interface TlsIdentity {
  readonly certificateNames: readonly string[];
  readonly pskIdentity: string | null;
}

/** The ciphers of TLS 1.3, and those of TLS 1.2 with forward secrecy. The last three are for pre-shared keys. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'ECDHE-PSK-AES256-CBC-SHA384',
  'ECDHE-PSK-AES128-CBC-SHA256',
].join(':');

interface Material {
  readonly options: TlsOptions;
  readonly keys: ReadonlyMap<string, Buffer> | null;
}

/** The server's half of TLS handshakes, and its files. */
export class TlsGate {
  readonly isRequired: boolean;
  readonly #files: TlsFiles;
  #contents: TlsContents;
  #material: Material;

  /**
   * Reads the files, unless `contents` has them.
   *
   * @throws ConfigError when a file is missing or unreadable, or does not fit the others
   */
  constructor({
    required,
    files,
    contents,
  }: {
    readonly required: boolean;
    readonly files: TlsFiles;
    readonly contents?: TlsContents | undefined;
  }) {
    this.isRequired = required;
    this.#files = files;
    this.#contents = contents ?? readContents(files);
    this.#material = load(files, this.#contents);
  }

  /** The contents in use, for a gate in another process. */
  get contents(): TlsContents {
    return this.#contents;
  }

  /**
   * Reads the files again, unless `contents` has them. Handshakes from now on use the new contents.
   *
   * @throws ConfigError when a file is wrong, as in the constructor; the old contents stay in use
   */
  reload(contents: TlsContents = readContents(this.#files)): void {
    this.#material = load(this.#files, contents);
    this.#contents = contents;
  }

  /**
   * Carries out the handshake on a socket. `secured` is called when the handshake has succeeded and, where certificates
   * are required, the client's is valid. Otherwise `plain` is destroyed with the reason. The caller sets the deadline.
   */
  secure(plain: Socket, secured: (stream: TLSSocket, identity: TlsIdentity) => void): void {
    const { options, keys } = this.#material;
    let offeredIdentity: string | null = null;
    // A server for this connection alone, without a listening socket: so its events belong to this connection.
    const server = createServer({
      ...options,
      ...(keys === null
        ? {}
        : {
            pskCallback: (_socket: TLSSocket, identity: string) => {
              const key = keys.get(identity) ?? null;
              if (key !== null) offeredIdentity = identity;
              return key;
            },
          }),
    });
    server.on('secureConnection', (stream) => {
      const identity = identityOf(stream, offeredIdentity);
      const isProven = identity.pskIdentity !== null || stream.authorized;
      if (options.requestCert !== true || isProven) secured(stream, identity);
      else {
        const refusal = String(stream.authorizationError);
        plain.destroy(new Error(`the TLS handshake failed: ${refusal}`));
      }
    });
    server.on('tlsClientError', (error, stream) => {
      // An Error by the types. In fact a code such as UNABLE_TO_VERIFY_LEAF_SIGNATURE, or null.
      const refusal: unknown = stream.authorizationError;
      const reason = typeof refusal === 'string' ? refusal : messageOf(error);
      plain.destroy(new Error(`the TLS handshake failed: ${reason}`));
    });
    server.emit('connection', plain);
  }
}

function identityOf(stream: TLSSocket, offeredIdentity: string | null): TlsIdentity {
  if (offeredIdentity !== null && usedPsk(stream)) {
    return { certificateNames: [], pskIdentity: offeredIdentity };
  }
  const names = stream.authorized ? certificateNames(stream.getPeerCertificate()) : [];
  return { certificateNames: names, pskIdentity: null };
}

/**
 * Whether the handshake used a pre-shared key. An offered identity proves nothing: the client may then use a certificate
 * instead. In TLS 1.2 the cipher shows it. TLS 1.3 treats a pre-shared key as a resumed session; this server gives out no
 * tickets, so there are no other resumed sessions.
 */
function usedPsk(stream: TLSSocket): boolean {
  if (stream.getProtocol() === 'TLSv1.3') return stream.isSessionReused();
  return stream.getCipher().name.includes('PSK');
}

/** @throws ConfigError when the files do not belong together or cannot be read */
function readContents(files: TlsFiles): TlsContents {
  const { certificate, key, ca, psk } = files;
  if (certificate === null && psk === null) {
    throw new UsageError(
      'tls',
      'TLS needs a certificate (--tls-cert and --tls-key) or pre-shared keys (--tls-psk)',
    );
  }
  if ((certificate === null) !== (key === null)) {
    throw new UsageError(
      'tls',
      'a TLS certificate needs its key, and a key its certificate; give both',
    );
  }
  if (ca !== null && certificate === null) {
    throw new UsageError('tls', '--tls-ca is for certificates; give --tls-cert and --tls-key too');
  }
  return {
    certificate: read('certificate', certificate),
    key: read('key', key),
    ca: read('ca', ca),
    psk: read('psk', psk),
  };
}

function load({ certificate, key, ca, psk }: TlsFiles, contents: TlsContents): Material {
  // `secure` checks certificates: Node 24 would refuse a client with a pre-shared key, which has no certificate.
  const options: TlsOptions = {
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    // No tickets: see usedPsk.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    ...(contents.certificate === null ? {} : { cert: contents.certificate }),
    ...(contents.key === null ? {} : { key: contents.key }),
    ...(contents.ca === null
      ? {}
      : { ca: checkedCa(contents.ca, ca ?? ''), requestCert: true, rejectUnauthorized: false }),
  };
  try {
    createSecureContext(options);
  } catch (error) {
    throw new ConfigError(
      'tls-cert',
      `the TLS certificate ${certificate ?? ''} and key ${key ?? ''} cannot be used: ${messageOf(error)}`,
    );
  }
  const keys = contents.psk === null ? null : parsePskFile(contents.psk, psk ?? '');
  return { options, keys };
}

function checkedCa(text: Buffer, path: string): Buffer {
  try {
    // node:tls accepts a file without a certificate, and then trusts no client.
    void new X509Certificate(text);
  } catch (error) {
    throw new ConfigError(
      'tls-ca',
      `${path} contains no certificate in PEM format: ${messageOf(error)}`,
      { path },
    );
  }
  return text;
}

function read(what: string, path: string | null): Buffer | null {
  if (path === null) return null;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError('tls-file', `cannot read the TLS ${what}: ${messageOf(error)}`, { path });
  }
}
