/**
 * MPA connection set-up (RFC 5044 section 7, RFC 6581) without the socket: reads a frame from pieces of any size,
 * interprets requests and replies, and builds the answers.
 */
import { READ_DEPTH_MAX } from '../limits.js';
import type { ConnectionParameters } from '../verbs.js';
import { MPA_PRIVATE_DATA_BYTES_MAX, READ_DEPTH_UNNEGOTIATED } from './limits.js';
import { Terminate } from './terminate.js';
import type { TerminateCode } from './terminate.js';
import {
  MPA_ENHANCED_BYTES,
  MPA_HEADER_BYTES,
  MPA_KEY_BYTES,
  MPA_READ_DEPTH_MASK,
  MPA_REPLY_KEY,
  MPA_REQUEST_KEY,
  MPA_REVISION,
  MpaFlag,
  MpaFrame,
  MpaIrdFlag,
  MpaOrdFlag,
  decodeMpaEnhanced,
  decodeMpaHeader,
  encodeMpaFrame,
} from './wire.js';

/**
 * The CRC of FPDUs: `on` requests a CRC, `off` leaves the choice to the peer. One side's request is enough (RFC 5044
 * 7.1).
 */
export type CrcMode = 'off' | 'on';

/** The result of the set-up. */
export interface MpaAgreement {
  readonly crc: boolean;
  /** Inbound reads that the peer may have outstanding (our IRD). */
  readonly readDepthInbound: number;
  /** Reads that we may have outstanding (our ORD). */
  readonly readDepthOutbound: number;
  /** The peer's own parameters. */
  readonly peer: ConnectionParameters;
}

/** Collects one request or reply frame. Memory is one buffer of the largest frame that the RFC allows. */
export class MpaFrameReader {
  readonly frame = new MpaFrame();
  /** Why the bytes are not a valid frame, as a sentence fragment. The reader then takes no more bytes. */
  failure: string | null = null;
  isComplete = false;
  readonly #key: string;
  readonly #bytes = Buffer.alloc(MPA_HEADER_BYTES + MPA_PRIVATE_DATA_BYTES_MAX);
  readonly #view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
  #length = 0;
  #needed = MPA_HEADER_BYTES;

  constructor(expects: 'request' | 'reply') {
    this.frame.isReply = expects === 'reply';
    this.#key = expects === 'reply' ? MPA_REPLY_KEY : MPA_REQUEST_KEY;
  }

  get receivedBytes(): number {
    return this.#length;
  }

  /** Takes the frame's bytes from `bytes[start .. end)`. Returns the number of bytes taken. */
  receive(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && !this.isComplete && this.failure === null) {
      const count = Math.min(this.#needed - this.#length, end - at);
      this.#bytes.set(bytes.subarray(at, at + count), this.#length);
      at += count;
      this.#checkKey(this.#length, this.#length + count);
      this.#length += count;
      if (this.failure === null && this.#length === this.#needed) this.#advance();
    }
    return at - start;
  }

  /** A copy of the consumer's part of the private data. */
  get privateData(): Uint8Array {
    const hasEnhanced = (this.frame.flags & MpaFlag.enhanced) !== 0;
    const skipped = hasEnhanced ? Math.min(MPA_ENHANCED_BYTES, this.frame.privateDataBytes) : 0;
    const end = MPA_HEADER_BYTES + this.frame.privateDataBytes;
    return new Uint8Array(this.#bytes.subarray(MPA_HEADER_BYTES + skipped, end));
  }

  /** Checks each part of the key as it arrives, to distinguish a peer with another protocol from a slow peer. */
  #checkKey(from: number, to: number): void {
    for (let index = from; index < Math.min(to, MPA_KEY_BYTES); index++) {
      if (this.#bytes[index] === this.#key.charCodeAt(index)) continue;
      this.failure = `the bytes do not start with "${this.#key}"`;
      return;
    }
  }

  #advance(): void {
    const { frame } = this;
    if (this.#needed === MPA_HEADER_BYTES) {
      decodeMpaHeader(this.#view, 0, frame);
      if (frame.privateDataBytes > MPA_PRIVATE_DATA_BYTES_MAX) {
        this.failure = `private data of ${frame.privateDataBytes} bytes exceeds ${MPA_PRIVATE_DATA_BYTES_MAX}`;
        return;
      }
      this.#needed += frame.privateDataBytes;
      if (this.#length < this.#needed) return;
    }
    if ((frame.flags & MpaFlag.enhanced) !== 0 && frame.privateDataBytes >= MPA_ENHANCED_BYTES) {
      decodeMpaEnhanced(this.#view, MPA_HEADER_BYTES, frame);
    }
    this.isComplete = true;
  }
}

/** The initiator's frame: Rev 2 with enhanced data, no markers, client-server model, as Linux siw sends it. */
export function encodeMpaRequest(wanted: ConnectionParameters, crc: CrcMode): Uint8Array {
  const frame = new MpaFrame();
  frame.flags = MpaFlag.enhanced | (crc === 'on' ? MpaFlag.crc : 0);
  frame.ird = clampDepth(wanted.responderResources);
  frame.ord = clampDepth(wanted.initiatorDepth);
  return frameWithData(frame, wanted.privateData);
}

/**
 * The initiator's interpretation of a reply. `terminate` is the code for the responder before the connection is
 * closed.
 */
export type MpaReplyOutcome =
  | { readonly type: 'accepted'; readonly agreement: MpaAgreement }
  | { readonly type: 'rejected'; readonly privateData: Uint8Array }
  | {
      readonly type: 'unusable';
      readonly reason: string;
      readonly terminate: TerminateCode | null;
    };

export function readMpaReply(
  reader: MpaFrameReader,
  wanted: ConnectionParameters,
  crc: CrcMode,
): MpaReplyOutcome {
  const { frame } = reader;
  if ((frame.flags & MpaFlag.reject) !== 0) {
    return { type: 'rejected', privateData: reader.privateData };
  }
  if (frame.revision !== MPA_REVISION) {
    return unusable(
      `the peer answered with MPA revision ${frame.revision}, only ${MPA_REVISION} is supported`,
    );
  }
  if ((frame.flags & MpaFlag.enhanced) === 0 || frame.privateDataBytes < MPA_ENHANCED_BYTES) {
    return unusable('the peer answered without the read depths of RFC 6581');
  }
  if ((frame.flags & MpaFlag.markers) !== 0) {
    return unusable('the peer wants MPA markers, which are not supported');
  }
  if ((frame.ird & MpaIrdFlag.peerToPeer) !== 0) {
    return unusable(
      'the peer wants a ready-to-receive message that was not offered',
      Terminate.llpRtr,
    );
  }
  const peerIrd = frame.ird & MPA_READ_DEPTH_MASK;
  const peerOrd = frame.ord & MPA_READ_DEPTH_MASK;
  // 0x3fff means that the peer leaves its read depth to the consumer. The peer then respects our limit.
  if (peerOrd !== MPA_READ_DEPTH_MASK && peerOrd > READ_DEPTH_MAX) {
    return unusable(
      `the peer wants ${peerOrd} reads outstanding, at most ${READ_DEPTH_MAX} are possible`,
      Terminate.llpInsufficientIrd,
    );
  }
  const ourIrd = clampDepth(wanted.responderResources);
  return {
    type: 'accepted',
    agreement: {
      crc: crc === 'on' || (frame.flags & MpaFlag.crc) !== 0,
      readDepthInbound: peerOrd === MPA_READ_DEPTH_MASK ? ourIrd : Math.max(ourIrd, peerOrd),
      readDepthOutbound: Math.min(clampDepth(wanted.initiatorDepth), peerIrd),
      peer: {
        privateData: reader.privateData,
        responderResources: peerIrd,
        initiatorDepth: peerOrd,
      },
    },
  };
}

/**
 * The responder's interpretation of a request. `reply` is the rejection to send before the connection is closed, or
 * null.
 */
export type MpaRequestOutcome =
  | { readonly type: 'acceptable'; readonly peer: ConnectionParameters }
  | { readonly type: 'refused'; readonly reason: string; readonly reply: Uint8Array | null };

/**
 * Interprets a request of revision 0, 1 or 2. Without enhanced data the peer's read depths are unknown, so a safe
 * depth is used.
 */
export function readMpaRequest(reader: MpaFrameReader): MpaRequestOutcome {
  const { frame } = reader;
  const isEnhanced = (frame.flags & MpaFlag.enhanced) !== 0;
  if (frame.revision > MPA_REVISION) {
    return refused(`MPA revision ${frame.revision} is above ${MPA_REVISION}`, null);
  }
  if (isEnhanced && frame.privateDataBytes < MPA_ENHANCED_BYTES) {
    return refused('the enhanced data is announced, but missing', null);
  }
  if ((frame.flags & MpaFlag.markers) !== 0) {
    return refused(
      'the peer wants MPA markers, which are not supported',
      encodeMpaReject(reader, new Uint8Array(0)),
    );
  }
  return {
    type: 'acceptable',
    peer: {
      privateData: reader.privateData,
      responderResources: isEnhanced ? frame.ird & MPA_READ_DEPTH_MASK : READ_DEPTH_UNNEGOTIATED,
      initiatorDepth: isEnhanced ? frame.ord & MPA_READ_DEPTH_MASK : READ_DEPTH_UNNEGOTIATED,
    },
  };
}

/** A reply, and the agreement that is valid after the reply is sent. */
export interface MpaAcceptance {
  readonly bytes: Uint8Array;
  readonly agreement: MpaAgreement;
  /**
   * The initiator will send a zero-length Send of MPA before its consumer's first message. That Send is not for the
   * consumer and uses no receive buffer.
   */
  readonly expectsSendRtr: boolean;
}

export function encodeMpaReply(
  reader: MpaFrameReader,
  peer: ConnectionParameters,
  ours: ConnectionParameters,
  crc: CrcMode,
): MpaAcceptance {
  const request = reader.frame;
  const isEnhanced = (request.flags & MpaFlag.enhanced) !== 0;
  const isPeerToPeer = isEnhanced && (request.ird & MpaIrdFlag.peerToPeer) !== 0;
  const usesCrc = crc === 'on' || (request.flags & MpaFlag.crc) !== 0;
  // The automatic depth 0x3fff exceeds every device. We may grant less than the peer wants; the peer decides whether
  // to accept that (RFC 6581 9.1).
  const ird = clampDepth(ours.responderResources);
  const ord = Math.min(clampDepth(ours.initiatorDepth), peer.responderResources);
  const rtr = isPeerToPeer ? chooseRtr(request) : noRtr;
  const frame = new MpaFrame();
  frame.isReply = true;
  frame.revision = request.revision;
  frame.flags = (isEnhanced ? MpaFlag.enhanced : 0) | (usesCrc ? MpaFlag.crc : 0);
  frame.ird = ird | rtr.irdFlags;
  frame.ord = ord | rtr.ordFlags;
  return {
    bytes: frameWithData(frame, ours.privateData),
    agreement: { crc: usesCrc, readDepthInbound: ird, readDepthOutbound: ord, peer },
    expectsSendRtr: (rtr.irdFlags & MpaIrdFlag.sendRtr) !== 0,
  };
}

/** Encodes a rejection with the request's revision, zero depths, and the consumer's private data. */
export function encodeMpaReject(reader: MpaFrameReader, privateData: Uint8Array): Uint8Array {
  const frame = new MpaFrame();
  frame.isReply = true;
  frame.revision = Math.min(reader.frame.revision, MPA_REVISION);
  frame.flags = MpaFlag.reject | (reader.frame.flags & MpaFlag.enhanced);
  return frameWithData(frame, privateData);
}

interface RtrChoice {
  readonly irdFlags: number;
  readonly ordFlags: number;
}

const noRtr: RtrChoice = { irdFlags: 0, ordFlags: 0 };

/**
 * Chooses one of the ready-to-receive messages that a peer-to-peer initiator offers (RFC 6581 section 9.2). A
 * zero-length Write is cheapest, then a Read, then a Send. Without an offer the choice is Write, as in Linux siw.
 */
function chooseRtr(request: MpaFrame): RtrChoice {
  const write = { irdFlags: MpaIrdFlag.peerToPeer, ordFlags: MpaOrdFlag.writeRtr };
  if ((request.ord & MpaOrdFlag.writeRtr) !== 0) return write;
  if ((request.ord & MpaOrdFlag.readRtr) !== 0) {
    return { irdFlags: MpaIrdFlag.peerToPeer, ordFlags: MpaOrdFlag.readRtr };
  }
  if ((request.ird & MpaIrdFlag.sendRtr) !== 0) {
    return { irdFlags: MpaIrdFlag.peerToPeer | MpaIrdFlag.sendRtr, ordFlags: 0 };
  }
  return write;
}

function frameWithData(frame: MpaFrame, privateData: Uint8Array): Uint8Array {
  const isEnhanced = (frame.flags & MpaFlag.enhanced) !== 0;
  frame.privateDataBytes = privateData.length + (isEnhanced ? MPA_ENHANCED_BYTES : 0);
  const bytes = new Uint8Array(MPA_HEADER_BYTES + frame.privateDataBytes);
  const headerBytes = encodeMpaFrame(new DataView(bytes.buffer), 0, frame);
  bytes.set(privateData, headerBytes);
  return bytes;
}

function clampDepth(depth: number): number {
  return Math.max(0, Math.min(depth, READ_DEPTH_MAX));
}

function unusable(reason: string, terminate: TerminateCode | null = null): MpaReplyOutcome {
  return { type: 'unusable', reason, terminate };
}

function refused(reason: string, reply: Uint8Array | null): MpaRequestOutcome {
  return { type: 'refused', reason, reply };
}
