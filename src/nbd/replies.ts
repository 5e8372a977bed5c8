import type { BlockExtent } from '../block/device.js';
import { assert } from '../common/assert.js';
import { allocationStateOf } from './meta-contexts.js';
import type { ReplyStyle } from './agreement.js';
import type { NbdRequest } from './request.js';
import {
  BLOCK_STATUS_BYTES,
  BLOCK_STATUS_DESCRIPTOR_BYTES,
  BLOCK_STATUS_EXT_BYTES,
  BLOCK_STATUS_EXT_DESCRIPTOR_BYTES,
  CHUNK_OFFSET_BYTES,
  ERROR_BYTES,
  EXTENDED_CHUNK_BYTES,
  NbdErrno,
  OFFSET_HOLE_BYTES,
  ReplyFlag,
  ReplyType,
  SIMPLE_REPLY_BYTES,
  STRUCTURED_CHUNK_BYTES,
  encodeDescriptor,
  encodeError,
  encodeExtDescriptor,
  encodeExtendedChunk,
  encodeOffsetHole,
  encodeSimpleReply,
  encodeStructuredChunk,
} from './wire.js';
import { writeSafeU64 } from '../common/u64.js';

/**
 * Composes replies in one of the styles. The returned bytes are in the request's slot or in its reply area. They are
 * borrowed from the request until it has been flushed.
 */
export interface ReplyFormat {
  /** The length of the reply of {@link done}. */
  readonly shortReplyBytes: number;
  /** The data of a READ behind its header, in one buffer: the slot has room for the header. */
  data(request: NbdRequest): Buffer;
  /** Success without data. */
  done(request: NbdRequest): Buffer;
  error(request: NbdRequest, errno: NbdErrno, message: string): Buffer;
}

/** Simple replies: a header of 16 bytes. An error has no message. */
export const simpleFormat: ReplyFormat = {
  shortReplyBytes: SIMPLE_REPLY_BYTES,
  data({ slot, cookieHigh, cookieLow, length }) {
    assert(slot !== null, 'data without a slot');
    const at = slot.offset - SIMPLE_REPLY_BYTES;
    encodeSimpleReply(slot.slab.view, at, NbdErrno.OK, cookieHigh, cookieLow);
    return slot.view(at, slot.offset + length);
  },
  done: (request) => simpleReply(request, NbdErrno.OK),
  error: (request, errno) => simpleReply(request, errno),
};

function simpleReply(request: NbdRequest, errno: NbdErrno): Buffer {
  const { headerView, headerAt, cookieHigh, cookieLow } = request;
  encodeSimpleReply(headerView, headerAt, errno, cookieHigh, cookieLow);
  return request.shortReply;
}

/** Structured or extended replies: chunks, the last with the flag DONE. */
export class ChunkFormat implements ReplyFormat {
  readonly #isExtended: boolean;
  readonly shortReplyBytes: number;
  readonly #headerBytes: number;
  /** Filled in again for each chunk. */
  readonly #chunk = {
    flags: 0,
    type: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offsetHigh: 0,
    offsetLow: 0,
    payloadBytes: 0,
  };

  constructor(style: Exclude<ReplyStyle, 'simple'>) {
    this.#isExtended = style === 'extended';
    this.#headerBytes = this.#isExtended ? EXTENDED_CHUNK_BYTES : STRUCTURED_CHUNK_BYTES;
    this.shortReplyBytes = this.#headerBytes;
  }

  data(request: NbdRequest): Buffer {
    const { slot, offset, length } = request;
    assert(slot !== null, 'data without a slot');
    const { view } = slot.slab;
    const payloadAt = slot.offset - CHUNK_OFFSET_BYTES;
    const at = payloadAt - this.#headerBytes;
    this.#encode(view, at, request, ReplyType.OFFSET_DATA, CHUNK_OFFSET_BYTES + length);
    writeSafeU64(view, payloadAt, offset);
    return slot.view(at, slot.offset + length);
  }

  /** A run of zeroes in a READ's range, `request.length` long. */
  hole(request: NbdRequest): Buffer {
    const at = this.#payloadAt(request);
    encodeOffsetHole(request.headerView, at, request.offset, request.length);
    return this.#inArea(request, ReplyType.OFFSET_HOLE, OFFSET_HOLE_BYTES);
  }

  done(request: NbdRequest): Buffer {
    this.#encode(request.headerView, request.headerAt, request, ReplyType.NONE, 0);
    return request.shortReply;
  }

  error(request: NbdRequest, errno: NbdErrno, message: string): Buffer {
    const messageBytes = this.#writeError(request, errno, message);
    return this.#inArea(request, ReplyType.ERROR, ERROR_BYTES + messageBytes);
  }

  /** An error at `request.offset`, which leaves the other chunks of a READ valid. */
  errorAt(request: NbdRequest, errno: NbdErrno, message: string): Buffer {
    const bytes = ERROR_BYTES + this.#writeError(request, errno, message);
    writeSafeU64(request.headerView, this.#payloadAt(request) + bytes, request.offset);
    return this.#inArea(request, ReplyType.ERROR_OFFSET, bytes + CHUNK_OFFSET_BYTES);
  }

  /** The length of a status payload, for which the request's slot must have room. */
  statusBytes(extentCount: number): number {
    return this.#isExtended
      ? BLOCK_STATUS_EXT_BYTES + extentCount * BLOCK_STATUS_EXT_DESCRIPTOR_BYTES
      : BLOCK_STATUS_BYTES + extentCount * BLOCK_STATUS_DESCRIPTOR_BYTES;
  }

  /** The extents of a BLOCK_STATUS, in the request's slot, or without a slot in its reply area. */
  status(request: NbdRequest, contextId: number, extents: readonly BlockExtent[]): Buffer {
    const { slot } = request;
    const view = slot === null ? request.headerView : slot.slab.view;
    let at = slot === null ? this.#payloadAt(request) : slot.offset;
    view.setUint32(at, contextId);
    if (this.#isExtended) view.setUint32(at + 4, extents.length);
    at += this.statusBytes(0);
    for (const extent of extents) {
      const state = allocationStateOf(extent);
      if (this.#isExtended) encodeExtDescriptor(view, at, extent.lengthBytes, state);
      else encodeDescriptor(view, at, extent.lengthBytes, state);
      at += this.statusBytes(1) - this.statusBytes(0);
    }
    const bytes = this.statusBytes(extents.length);
    const type = this.#isExtended ? ReplyType.BLOCK_STATUS_EXT : ReplyType.BLOCK_STATUS;
    if (slot === null) return this.#inArea(request, type, bytes);
    this.#encode(view, slot.offset - this.#headerBytes, request, type, bytes);
    return slot.view(slot.offset - this.#headerBytes, slot.offset + bytes);
  }

  #payloadAt(request: NbdRequest): number {
    return request.headerAt + this.#headerBytes;
  }

  #writeError(request: NbdRequest, errno: NbdErrno, message: string): number {
    const at = this.#payloadAt(request);
    const messageBytes = request.header.write(message, this.#headerBytes + ERROR_BYTES, 'latin1');
    encodeError(request.headerView, at, errno, messageBytes);
    return messageBytes;
  }

  /** Puts the header before a payload of `payloadBytes` in the request's reply area. */
  #inArea(request: NbdRequest, type: number, payloadBytes: number): Buffer {
    this.#encode(request.headerView, request.headerAt, request, type, payloadBytes);
    return request.header.subarray(0, this.#headerBytes + payloadBytes);
  }

  #encode(
    view: DataView,
    at: number,
    request: NbdRequest,
    type: number,
    payloadBytes: number,
  ): void {
    const chunk = this.#chunk;
    chunk.flags = request.isLastChunk ? ReplyFlag.DONE : 0;
    chunk.type = type;
    chunk.cookieHigh = request.cookieHigh;
    chunk.cookieLow = request.cookieLow;
    chunk.offsetHigh = request.startHigh;
    chunk.offsetLow = request.startLow;
    chunk.payloadBytes = payloadBytes;
    if (this.#isExtended) encodeExtendedChunk(view, at, chunk);
    else encodeStructuredChunk(view, at, chunk);
  }
}
