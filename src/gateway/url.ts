import { parseAddress } from '../common/address.js';
import { UsageError } from '../common/errors.js';
import { parseChapAlgorithms } from '../iscsi/chap-algorithm.js';
import type { ChapAlgorithm } from '../iscsi/chap-algorithm.js';
import { checkTargetName } from '../iscsi/iscsi-name.js';
import { ISCSI_PORT } from '../iscsi/portal.js';
import { LUN_MAX } from '../scsi/lun.js';
import type { PortalAddress } from '../transport/verbs.js';

/** The transport of an `iser://` URL, from its query part. */
export interface TransportChoice {
  readonly transport: 'iwarp' | 'native';
  /** Ask the peer for MPA CRCs (iwarp). */
  readonly crc: boolean;
  /** The longest FPDU to send, in bytes; null takes the transport's default (iwarp). */
  readonly fpduBytes: number | null;
}

/** The user and the CHAP algorithms of a URL. */
interface Login {
  readonly user: string | null;
  /** Null when the URL has none; other sources may have some. */
  readonly chapAlgorithms: readonly ChapAlgorithm[] | null;
}

/** `iser://[user@]HOST[:PORT]/TARGET-IQN/LUN[?transport=…&crc=on|off&fpdu=BYTES&chapAlgorithms=LIST]` */
export interface RemoteLun extends TransportChoice, Login {
  readonly kind: 'remote';
  readonly portal: PortalAddress;
  readonly targetName: string;
  readonly lun: number;
}

/** `memory:SIZE` or `file:PATH[:SIZE]`: a LUN of a target inside this process. */
export interface EmbeddedLun {
  readonly kind: 'embedded';
  readonly spec: string;
}

export type ExportUrl = RemoteLun | EmbeddedLun;

const EXAMPLE = 'iser://HOST[:PORT]/TARGET-IQN/LUN, memory:SIZE or file:PATH[:SIZE]';
const AUTHORITY =
  /^iser:\/\/(?:([^/?]*)@)?(\[[^/?@[\]]+\]|[^:/?@[\]]+)(?::(\d{1,5}))?(\/[^?]*)?(?:\?(.*))?$/;
/** An escape for a letter, a digit, or one of -._~. RFC 3986 2.3 advises against such escapes. */
const UNNEEDED_ESCAPE = /%(?:2[de]|3\d|4[1-9a-f]|5[\daf]|6[1-9a-f]|7[\dae])/i;
const FPDU_BYTES_MIN = 1400;
const FPDU_BYTES_MAX = 65_500;

/** @throws UsageError for a wrong URL, with one sentence for the user */
export function parseExportUrl(text: string): ExportUrl {
  if (/^(memory|file):/.test(text)) return { kind: 'embedded', spec: text };
  const { portal, path, choice } = parseAuthority(text, EXAMPLE);
  const match = /^\/([^/]+)\/(\d+)$/.exec(path);
  if (match === null) {
    throw new UsageError(
      'url-path',
      `${text}: after the portal comes /TARGET-IQN/LUN, as in iser://192.0.2.1/iqn.2026-11.io.example:lab/0`,
    );
  }
  const targetName = decodePart(match[1] ?? '', text);
  checkTargetName(targetName);
  const lun = Number(match[2]);
  if (lun > LUN_MAX) throw new UsageError('url-lun', `${text}: a LUN is at most ${LUN_MAX}`);
  return { kind: 'remote', portal, targetName, lun, ...choice };
}

/**
 * Reads a portal without a target, `iser://[user@]HOST[:PORT]`, for discovery.
 *
 * @throws UsageError for a wrong URL
 */
export function parsePortalUrl(text: string): { portal: PortalAddress } & TransportChoice & Login {
  const { portal, path, choice } = parseAuthority(text, 'iser://HOST[:PORT]');
  if (path !== '' && path !== '/') {
    throw new UsageError('url-path', `${text}: discovery takes a portal only, iser://HOST[:PORT]`);
  }
  return { portal, ...choice };
}

function parseAuthority(text: string, example: string) {
  const match = AUTHORITY.exec(text);
  const address = parseAddress(match?.[2] ?? '');
  if (match === null || address === null) {
    const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(text)?.[1];
    const what =
      scheme === undefined
        ? 'not a URL'
        : scheme === 'iser'
          ? 'malformed'
          : `unknown scheme ${scheme}`;
    throw new UsageError('url', `${redactUrl(text)}: ${what}; expected ${example}`);
  }
  const [, userPart, , portPart, path = '', query = ''] = match;
  const user = parseUser(userPart ?? '', text);
  const port = portPart === undefined ? ISCSI_PORT : Number(portPart);
  if (port < 1 || port > 65_535) throw new UsageError('url-port', `${text}: ${port} is not a port`);
  return {
    portal: { host: address.host, port },
    path,
    choice: { user, ...parseQuery(query, text) },
  };
}

/**
 * The part before the `@`, percent-decoded. Only characters that a URL cannot hold may be escaped. Any other `%` may be
 * libiscsi's `user%password`, which must not become a name: names are sent in the clear.
 */
function parseUser(part: string, text: string): string | null {
  const elsewhere = 'give it by --chap-secret-file or ISER_NBD_CHAP_SECRET';
  if (part.includes(':')) {
    throw new UsageError(
      'url-secret',
      `${redactUrl(text)}: a URL must not contain a secret; ${elsewhere}; write a colon in a user as %3A`,
    );
  }
  const user = decodePercent(part);
  if (user === null || UNNEEDED_ESCAPE.test(part) || /\p{Cc}/u.test(user)) {
    throw new UsageError(
      'url-secret',
      `${redactUrl(text)}: a % in the user is for characters that a URL cannot hold, as in user%40domain; write a ` +
        `% itself as %25; a URL must not contain a secret, as in user%password: ${elsewhere}`,
    );
  }
  return user === '' ? null : user;
}

/** The URL without the part that may contain a secret. */
function redactUrl(text: string): string {
  return text.replace(/\/\/[^/]*@/, '//…@');
}

function parseQuery(query: string, text: string): TransportChoice & Pick<Login, 'chapAlgorithms'> {
  let chapAlgorithms: readonly ChapAlgorithm[] | null = null;
  let transport: 'iwarp' | 'native' = 'iwarp';
  let crc = false;
  let fpduBytes: number | null = null;
  for (const [key, value] of new URLSearchParams(query)) {
    if (key === 'transport' && (value === 'iwarp' || value === 'native')) transport = value;
    else if (key === 'crc' && (value === 'on' || value === 'off')) crc = value === 'on';
    else if (key === 'fpdu' && Number(value) >= FPDU_BYTES_MIN && Number(value) <= FPDU_BYTES_MAX) {
      fpduBytes = Math.floor(Number(value));
    } else if (key === 'chapAlgorithms') {
      chapAlgorithms = parseChapAlgorithms(value);
    } else {
      throw new UsageError(
        'url-query',
        `${text}: ${key}=${value} is not known; expected transport=iwarp|native, crc=on|off, ` +
          `fpdu=${FPDU_BYTES_MIN}…${FPDU_BYTES_MAX}, chapAlgorithms=LIST`,
      );
    }
  }
  return { transport, crc, fpduBytes, chapAlgorithms };
}

function decodePart(part: string, text: string): string {
  const decoded = decodePercent(part);
  if (decoded === null)
    throw new UsageError('url', `${redactUrl(text)}: malformed percent encoding`);
  return decoded;
}

function decodePercent(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
