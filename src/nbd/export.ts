import type { BlockDevice } from '../block/device.js';
import { ConfigError, UsageError } from '../common/errors.js';
import type { AccessRule } from './access.js';
import type { ReplyStyle } from './agreement.js';
import { STRING_BYTES_MAX, TransmissionFlag } from './wire.js';

/** The largest minimum block size that may be advertised (proto.md, "Size constraints"). */
const MINIMUM_BLOCK_BYTES_MAX = 65_536;
/** The smallest preferred block size that may be advertised (proto.md, "Size constraints"). */
const PREFERRED_BLOCK_BYTES_MIN = 512;

export interface NbdExportOptions {
  readonly name: string;
  /** For people; empty for none. */
  readonly description?: string;
  readonly device: BlockDevice;
  readonly readOnly?: boolean;
  /** Which clients may use the export; null for all. */
  readonly allow?: AccessRule | null;
}

/** A disk, under the name that clients ask for. */
export class NbdExport {
  readonly name: string;
  readonly description: string;
  readonly device: BlockDevice;
  readonly allow: AccessRule | null;
  readonly #readOnly: boolean;

  /** @throws ConfigError for a name, description or block size that NBD does not allow */
  constructor({
    name,
    description = '',
    device,
    readOnly = false,
    allow = null,
  }: NbdExportOptions) {
    checkString('name', name);
    checkString('description', description);
    const { minimumBytes } = device.info;
    if (minimumBytes > MINIMUM_BLOCK_BYTES_MAX) {
      throw new ConfigError(
        'export-block-size',
        `export ${name} has blocks of ${minimumBytes} bytes; NBD allows at most ${MINIMUM_BLOCK_BYTES_MAX}`,
        { export: name, minimumBytes },
      );
    }
    this.name = name;
    this.description = description;
    this.device = device;
    this.#readOnly = readOnly;
    this.allow = allow;
  }

  /** The export is set to read-only, or the device is read-only now. */
  get readOnly(): boolean {
    return this.#readOnly || this.device.info.readOnly;
  }
}

/** The properties of an export that a connection relies on. They are fixed when the transmission phase begins. */
export interface ExportTerms {
  readonly sizeBytes: number;
  readonly flags: number;
  readonly minimumBytes: number;
  readonly preferredBytes: number;
  /** The longest READ and WRITE, TRIM, and WRITE_ZEROES. */
  readonly payloadBytesMax: number;
  readonly trimBytesMax: number;
  readonly writeZeroesBytesMax: number;
  readonly replyStyle: ReplyStyle;
  /** The ids of the metadata contexts that BLOCK_STATUS reports; empty when the client selected none. */
  readonly contexts: readonly number[];
}

/** What a handshake has agreed on, besides the export. */
export interface Agreed {
  readonly replyStyle: ReplyStyle;
  readonly contexts: readonly number[];
}

const NOTHING_AGREED: Agreed = { replyStyle: 'simple', contexts: [] };

/** The present terms of an export. `payloadBytesMax` is the server's own limit. */
export function termsOf(
  item: NbdExport,
  payloadBytesMax: number,
  agreed: Agreed = NOTHING_AGREED,
): ExportTerms {
  const { info } = item.device;
  const payloadMax = Math.min(payloadBytesMax, info.transferBytesMax);
  const preferred = Math.max(info.preferredBytes, PREFERRED_BLOCK_BYTES_MIN, info.minimumBytes);
  return {
    sizeBytes: info.sizeBytes,
    flags: transmissionFlagsOf(item) | agreedFlags(agreed),
    minimumBytes: info.minimumBytes,
    // "MUST be at least as large as the preferred block size", said of the maximum payload.
    preferredBytes: Math.min(preferred, powerOfTwoBelow(payloadMax)),
    payloadBytesMax: payloadMax,
    trimBytesMax: info.trimBytesMax,
    writeZeroesBytesMax: info.writeZeroesBytesMax,
    replyStyle: agreed.replyStyle,
    contexts: agreed.contexts,
  };
}

/** The flags that have a meaning only with structured or extended replies. */
function agreedFlags({ replyStyle, contexts }: Agreed): number {
  if (replyStyle === 'simple') return 0;
  if (replyStyle === 'structured' || contexts.length === 0) return TransmissionFlag.SEND_DF;
  return TransmissionFlag.SEND_DF | TransmissionFlag.BLOCK_STATUS_PAYLOAD;
}

function transmissionFlagsOf({ device, readOnly }: NbdExport): number {
  const { info } = device;
  let flags: number = TransmissionFlag.HAS_FLAGS;
  if (info.rotational) flags |= TransmissionFlag.ROTATIONAL;
  if (info.multiConnection) flags |= TransmissionFlag.CAN_MULTI_CONN;
  if (info.canCache) flags |= TransmissionFlag.SEND_CACHE;
  if (info.canFlush) flags |= TransmissionFlag.SEND_FLUSH;
  if (readOnly) return flags | TransmissionFlag.READ_ONLY;
  if (info.canForceUnitAccess || info.canFlush) flags |= TransmissionFlag.SEND_FUA;
  if (info.canTrim) flags |= TransmissionFlag.SEND_TRIM;
  if (info.canWriteZeroes) {
    // Every device obeys `fastOnly`, if only by refusing at once, which proto.md allows.
    flags |= TransmissionFlag.SEND_WRITE_ZEROES | TransmissionFlag.SEND_FAST_ZERO;
  }
  return flags;
}

/** The exports of a server. A change of the table affects new handshakes only. */
export interface ExportTable {
  /** `name` as the client sent it; empty asks for the default export. */
  lookup(name: string): NbdExport | null;
  list(): Iterable<NbdExport>;
  /** Some exports are only for clients that prove their names over TLS. */
  readonly hasTlsOnly?: boolean;
}

/**
 * The table of a fixed set of exports. The default export is the one named "", or `defaultName`, or the only one.
 *
 * @throws UsageError when two exports have the same name, or none has the default name
 */
export function fixedExports(
  items: Iterable<NbdExport>,
  defaultName: string | null = null,
): ExportTable {
  const byName = new Map<string, NbdExport>();
  for (const item of items) {
    if (byName.has(item.name)) {
      throw new UsageError(
        'export-twice',
        `export ${item.name} is named twice; give each a name of its own`,
        { export: item.name },
      );
    }
    byName.set(item.name, item);
  }
  const [first] = byName.values();
  const only = byName.size === 1 && first !== undefined ? first : null;
  const named = defaultName === null ? only : byName.get(defaultName);
  if (named === undefined) {
    throw new UsageError(
      'default-export',
      `the default export ${JSON.stringify(defaultName)} is not one of the exports`,
    );
  }
  return {
    lookup: (name) => byName.get(name) ?? (name === '' ? named : null),
    list: () => byName.values(),
  };
}

/** proto.md, "Conventions": no NUL, at most 4096 bytes of UTF-8. */
function checkString(what: string, text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > STRING_BYTES_MAX) {
    throw new UsageError(
      'export-string',
      `the export ${what} that begins with ${text.slice(0, 32)} has ${bytes} bytes; NBD allows at most ${STRING_BYTES_MAX}`,
    );
  }
  if (text.includes('\0') || /\p{Surrogate}/u.test(text)) {
    throw new UsageError(
      'export-string',
      `the export ${what} ${JSON.stringify(text)} contains a NUL or is not valid Unicode; NBD forbids both`,
    );
  }
}

function powerOfTwoBelow(value: number): number {
  return 2 ** Math.floor(Math.log2(value));
}
