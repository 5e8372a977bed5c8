import type { BlockExtent } from '../block/device.js';
import type { OptionContext } from './option-context.js';
import { stringOf } from './strings.js';
import { AllocationState, META_CONTEXT_ID_BYTES, OptionReply, STRING_BYTES_MAX } from './wire.js';

/** The only metadata context of this server (proto.md, "The `base:` metadata namespace"). */
export const BASE_ALLOCATION = { id: 1, name: 'base:allocation' } as const;
/** Asks for every context of the namespace; a wildcard in LIST only. */
const BASE_WILDCARD = 'base:';

/** LIST_META_CONTEXT lists the contexts that the queries match, or all without queries. It changes no selection. */
export function listMetaContexts(context: OptionContext, data: Buffer): void {
  const request = accept(context, data);
  if (request === null) return;
  const { queries } = request;
  const isListed =
    queries.length === 0 ||
    queries.includes(BASE_ALLOCATION.name) ||
    queries.includes(BASE_WILDCARD);
  // "The metadata context ID in these replies is reserved and SHOULD be set to zero."
  if (isListed) context.reply(OptionReply.META_CONTEXT, contextReply(0));
  context.reply(OptionReply.ACK);
}

/**
 * SET_META_CONTEXT replaces the selection. Queries that match nothing (other namespaces, unknown names, wildcards) are
 * ignored. A SET that fails drops the old selection as well: the negotiation does that, as it applies also when the
 * option's data is never read.
 */
export function setMetaContexts(context: OptionContext, data: Buffer): void {
  const request = accept(context, data);
  if (request === null) return;
  const { exportName, queries } = request;
  const isSelected = queries.includes(BASE_ALLOCATION.name);
  context.agreement.selectContexts(exportName, isSelected ? [BASE_ALLOCATION.id] : []);
  if (isSelected) context.reply(OptionReply.META_CONTEXT, contextReply(BASE_ALLOCATION.id));
  context.reply(OptionReply.ACK);
}

/** The flags of `base:allocation` for an extent. */
export function allocationStateOf({ hole, zero }: BlockExtent): number {
  return (hole ? AllocationState.HOLE : 0) | (zero ? AllocationState.ZERO : 0);
}

interface MetaRequest {
  readonly exportName: string;
  readonly queries: readonly string[];
}

/** Parses and checks a request; null when it has been refused. */
function accept(context: OptionContext, data: Buffer): MetaRequest | null {
  if (!context.agreement.hasChunks) {
    context.refuse(
      OptionReply.ERR_INVALID,
      'metadata contexts need structured replies or extended headers; ask for one of these first',
    );
    return null;
  }
  const request = parse(data);
  if (typeof request === 'string') {
    context.refuse(OptionReply.ERR_INVALID, request);
    return null;
  }
  const { metaQueriesMax } = context;
  if (request.queries.length > metaQueriesMax) {
    context.refuse(OptionReply.ERR_TOO_BIG, `an option may have at most ${metaQueriesMax} queries`);
    return null;
  }
  if (context.exports.lookup(request.exportName) === null) {
    context.refuse(OptionReply.ERR_UNKNOWN, `there is no export "${request.exportName}"`);
    return null;
  }
  return request;
}

/** The option's data, or the text of its error. Every length is checked before it is used (CVE-2022-26495). */
function parse(data: Buffer): MetaRequest | string {
  if (data.length < 8) return 'the option data is too short';
  const nameBytes = data.readUInt32BE(0);
  if (nameBytes > data.length - 8) return 'the export name is longer than the option data';
  if (nameBytes > STRING_BYTES_MAX) {
    return `the export name is longer than ${STRING_BYTES_MAX} bytes`;
  }
  const exportName = stringOf(data.subarray(4, 4 + nameBytes));
  if (exportName === null) return 'the export name is not UTF-8, or contains a NUL';
  const count = data.readUInt32BE(4 + nameBytes);
  let at = 8 + nameBytes;
  if (count > (data.length - at) / 4) return 'there are fewer queries than announced';
  const queries: string[] = [];
  for (let index = 0; index < count; index++) {
    if (data.length - at < 4) return 'there are fewer queries than announced';
    const queryBytes = data.readUInt32BE(at);
    at += 4;
    if (queryBytes > data.length - at) return 'a query is longer than the option data';
    if (queryBytes > STRING_BYTES_MAX) return `a query is longer than ${STRING_BYTES_MAX} bytes`;
    const query = stringOf(data.subarray(at, at + queryBytes));
    if (query === null) return 'a query is not UTF-8, or contains a NUL';
    queries.push(query);
    at += queryBytes;
  }
  return at === data.length ? { exportName, queries } : 'there is more data than announced';
}

function contextReply(id: number): Uint8Array {
  const bytes = Buffer.alloc(META_CONTEXT_ID_BYTES + BASE_ALLOCATION.name.length);
  bytes.writeUInt32BE(id, 0);
  bytes.write(BASE_ALLOCATION.name, META_CONTEXT_ID_BYTES);
  return bytes;
}
