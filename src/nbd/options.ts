import { writeSafeU64 } from '../common/u64.js';
import { NbdProtocolError } from './errors.js';
import type { ExportTerms, NbdExport } from './export.js';
import { listMetaContexts, setMetaContexts } from './meta-contexts.js';
import { quotedBytes } from '../common/printable.js';
import { stringOf } from './strings.js';
import {
  INFO_BLOCK_SIZE_BYTES,
  INFO_EXPORT_BYTES,
  InfoType,
  NbdOption,
  OptionReply,
  STRING_BYTES_MAX,
} from './wire.js';
import type { OptionContext } from './option-context.js';

/** One row of the option table. */
export interface OptionEntry {
  /** Answers the option with a final reply, `choose` or `end`. `data` is all data of the option. */
  readonly handle: (context: OptionContext, data: Buffer) => void;
  /**
   * The answer when the data is too long to be read: `refuse` with ERR_TOO_BIG; `ignore` the data, as proto.md says of
   * ABORT; or `end` the connection, as EXPORT_NAME has no error reply.
   */
  readonly tooLong: 'refuse' | 'ignore' | 'end';
}

/**
 * The options of proto.md by number, with the one that this server does not support. A number that is not here is an
 * unknown option, which gets ERR_UNSUP as well.
 */
export const OPTIONS: Readonly<Partial<Record<number, OptionEntry>>> = {
  [NbdOption.EXPORT_NAME]: { handle: exportName, tooLong: 'end' },
  [NbdOption.ABORT]: { handle: abort, tooLong: 'ignore' },
  [NbdOption.LIST]: { handle: list, tooLong: 'refuse' },
  [NbdOption.PEEK_EXPORT]: { handle: unsupported, tooLong: 'refuse' },
  [NbdOption.STARTTLS]: { handle: startTls, tooLong: 'refuse' },
  [NbdOption.INFO]: { handle: info, tooLong: 'refuse' },
  [NbdOption.GO]: { handle: go, tooLong: 'refuse' },
  [NbdOption.STRUCTURED_REPLY]: { handle: structuredReply, tooLong: 'refuse' },
  [NbdOption.LIST_META_CONTEXT]: { handle: listMetaContexts, tooLong: 'refuse' },
  [NbdOption.SET_META_CONTEXT]: { handle: setMetaContexts, tooLong: 'refuse' },
  [NbdOption.EXTENDED_HEADERS]: { handle: extendedHeaders, tooLong: 'refuse' },
};

function exportName(context: OptionContext, data: Buffer): void {
  if (context.agreement.replyStyle === 'extended') {
    context.end(
      new NbdProtocolError(
        'nbd-export-name-extended',
        'the client sent NBD_OPT_EXPORT_NAME after NBD_OPT_EXTENDED_HEADERS, which forbids it',
      ),
    );
    return;
  }
  const name = data.length > STRING_BYTES_MAX ? null : stringOf(data);
  const item = name === null ? null : context.exports.lookup(name);
  if (name === null || item === null) {
    context.end(
      new NbdProtocolError(
        'nbd-unknown-export',
        'the client asked for an export that does not exist',
        {
          export: quotedBytes(data),
        },
      ),
    );
    return;
  }
  context.refresh(item, (isUsable) => {
    if (!isUsable) {
      const facts = { export: item.name };
      context.end(new NbdProtocolError('nbd-unusable-export', UNUSABLE, facts));
      return;
    }
    const terms = context.termsOf(item, name);
    context.sendExportNameReply(terms);
    context.choose(item, terms);
  });
}

function abort(context: OptionContext): void {
  context.reply(OptionReply.ACK);
  context.end(null);
}

function list(context: OptionContext, data: Buffer): void {
  if (data.length > 0) {
    context.refuse(OptionReply.ERR_INVALID, 'NBD_OPT_LIST takes no data');
    return;
  }
  for (const item of context.exports.list()) {
    const nameBytes = Buffer.byteLength(item.name);
    const entry = Buffer.alloc(4 + nameBytes + Buffer.byteLength(item.description));
    entry.writeUInt32BE(nameBytes, 0);
    entry.write(item.name, 4);
    entry.write(item.description, 4 + nameBytes);
    context.reply(OptionReply.SERVER, entry);
  }
  context.reply(OptionReply.ACK);
}

function info(context: OptionContext, data: Buffer): void {
  describe(context, data, () => context.reply(OptionReply.ACK));
}

function go(context: OptionContext, data: Buffer): void {
  describe(context, data, (item, terms) => {
    context.reply(OptionReply.ACK);
    context.choose(item, terms);
  });
}

function structuredReply(context: OptionContext, data: Buffer): void {
  if (data.length > 0) {
    context.refuse(OptionReply.ERR_INVALID, 'NBD_OPT_STRUCTURED_REPLY takes no data');
  } else if (context.agreement.replyStyle === 'extended') {
    context.refuse(
      OptionReply.ERR_EXT_HEADER_REQD,
      'extended headers are already agreed on; they replace structured replies',
    );
  } else {
    context.agreement.useStructuredReplies();
    context.reply(OptionReply.ACK);
  }
}

function extendedHeaders(context: OptionContext, data: Buffer): void {
  if (data.length > 0) {
    context.refuse(OptionReply.ERR_INVALID, 'NBD_OPT_EXTENDED_HEADERS takes no data');
    return;
  }
  context.agreement.useExtendedHeaders();
  context.reply(OptionReply.ACK);
}

function startTls(context: OptionContext, data: Buffer): void {
  if (context.tls === 'off') {
    context.refuse(OptionReply.ERR_UNSUP, 'this server has no TLS');
  } else if (context.tls === 'secured') {
    context.refuse(OptionReply.ERR_INVALID, 'the connection already uses TLS');
  } else if (data.length > 0) {
    context.refuse(OptionReply.ERR_INVALID, 'NBD_OPT_STARTTLS takes no data');
  } else {
    context.startTls();
  }
}

function unsupported(context: OptionContext): void {
  context.refuse(OptionReply.ERR_UNSUP, 'this server does not support the option');
}

const UNUSABLE = 'the disk behind the export cannot be used now; the server log says why';

/** Answers INFO and GO, except for their ACK: `finish` sends that, unless the option is refused. */
function describe(
  context: OptionContext,
  data: Buffer,
  finish: (item: NbdExport, terms: ExportTerms) => void,
): void {
  const request = parseInfoRequest(data);
  if (typeof request === 'string') {
    context.refuse(OptionReply.ERR_INVALID, request);
    return;
  }
  const item = context.exports.lookup(request.name);
  if (item === null) {
    // A client without TLS must not learn whether an export needs TLS or does not exist.
    if (context.tls === 'offered' && context.exports.hasTlsOnly === true) {
      context.refuse(OptionReply.ERR_TLS_REQD, 'there is no such export without TLS');
    } else {
      context.refuse(OptionReply.ERR_UNKNOWN, `there is no export "${request.name}"`);
    }
    return;
  }
  context.refresh(item, (isUsable) => {
    if (isUsable) finish(item, sendTerms(context, item, request));
    else context.refuse(OptionReply.ERR_UNKNOWN, UNUSABLE);
  });
}

/** Sends the replies to INFO and GO that describe an export. */
function sendTerms(context: OptionContext, item: NbdExport, request: InfoRequest): ExportTerms {
  const { types } = request;
  const terms = context.termsOf(item, request.name);
  context.reply(OptionReply.INFO, exportInfo(terms));
  if (types.has(InfoType.NAME)) context.reply(OptionReply.INFO, textInfo(InfoType.NAME, item.name));
  if (types.has(InfoType.DESCRIPTION) && item.description !== '') {
    context.reply(OptionReply.INFO, textInfo(InfoType.DESCRIPTION, item.description));
  }
  // "A server with size constraints other than the default SHOULD advertise" them, asked or not.
  if (types.has(InfoType.BLOCK_SIZE) || terms.minimumBytes > 1) {
    context.reply(OptionReply.INFO, blockSizeInfo(terms));
  }
  return terms;
}

interface InfoRequest {
  readonly name: string;
  readonly types: ReadonlySet<number>;
}

/** The data of INFO and GO, or the text of its error. Every length is checked before it is used (CVE-2022-26496). */
function parseInfoRequest(data: Buffer): InfoRequest | string {
  if (data.length < 6) return 'the option data is too short';
  const nameBytes = data.readUInt32BE(0);
  if (nameBytes > data.length - 6) return 'the export name is longer than the option data';
  if (nameBytes > STRING_BYTES_MAX)
    return `the export name is longer than ${STRING_BYTES_MAX} bytes`;
  const name = stringOf(data.subarray(4, 4 + nameBytes));
  if (name === null) return 'the export name is not UTF-8, or contains a NUL';
  const count = data.readUInt16BE(4 + nameBytes);
  const listAt = 6 + nameBytes;
  if (data.length !== listAt + 2 * count) return 'the number of information requests is wrong';
  const types = new Set<number>();
  for (let index = 0; index < count; index++) types.add(data.readUInt16BE(listAt + 2 * index));
  return { name, types };
}

function exportInfo(terms: ExportTerms): Uint8Array {
  const bytes = new Uint8Array(INFO_EXPORT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, InfoType.EXPORT);
  writeSafeU64(view, 2, terms.sizeBytes);
  view.setUint16(10, terms.flags);
  return bytes;
}

function textInfo(type: number, text: string): Uint8Array {
  const bytes = Buffer.alloc(2 + Buffer.byteLength(text));
  bytes.writeUInt16BE(type, 0);
  bytes.write(text, 2);
  return bytes;
}

function blockSizeInfo(terms: ExportTerms): Uint8Array {
  const bytes = new Uint8Array(INFO_BLOCK_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, InfoType.BLOCK_SIZE);
  view.setUint32(2, terms.minimumBytes);
  view.setUint32(6, terms.preferredBytes);
  view.setUint32(10, terms.payloadBytesMax);
  return bytes;
}
