/**
 * Lays a capture out anew, with one MPA frame or FPDU per TCP segment. Wireshark loses the FPDUs' boundaries for good
 * where TCP cuts one within its first bytes; here it can judge each of them. The framing itself is judged on the way:
 * RFC 5044 (MPA), and the version bits of DDP and RDMAP in every FPDU.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { TcpFlag, encodeCapture, readSegments } from './pcap.js';
import type { TcpSegment } from './pcap.js';

const MPA_FRAME_BYTES = 20;
const MPA_KEY = 'MPA ID Re';
const CRC_BYTES = 4;
/** Bare acknowledgements would not fit the new sequence. */
const BOUNDARY_FLAGS = TcpFlag.syn | TcpFlag.fin | TcpFlag.rst;
const DDP_VERSION_MASK = 0x03;
const DDP_VERSION = 0x01;
const RDMAP_VERSION_MASK = 0xc0;
const RDMAP_VERSION = 0x40;

/** Throws where a stream to or from one of `ports` is not MPA from its first byte to its last. */
export function reframe(from: string, to: string, ports: readonly number[]): void {
  const streams = new Map<string, MpaStream>();
  const framed: TcpSegment[] = [];
  for (const segment of readSegments(readFileSync(from))) {
    if (!ports.includes(segment.from.port) && !ports.includes(segment.to.port)) continue;
    const name = [segment.from, segment.to].map((end) => `${end.address}:${end.port}`).join(' > ');
    let stream = streams.get(name);
    if (stream === undefined || (segment.flags & TcpFlag.syn) !== 0) {
      stream = new MpaStream(name, segment.sequence);
      streams.set(name, stream);
    }
    if (segment.payload.length > 0) framed.push(...stream.receive(segment));
    else if ((segment.flags & BOUNDARY_FLAGS) !== 0) framed.push(segment);
  }
  for (const stream of streams.values()) stream.end();
  writeFileSync(to, encodeCapture(framed));
}

/** One direction of a connection. */
class MpaStream {
  readonly #name: string;
  #pending: Buffer = Buffer.alloc(0);
  /** The sequence number of the first pending byte. */
  #sequence: number;
  #isFramed = false;

  constructor(name: string, synSequence: number) {
    this.#name = name;
    this.#sequence = (synSequence + 1) >>> 0;
  }

  /** The frames that this segment completes, each as a segment of its own. */
  *receive(segment: TcpSegment): Generator<TcpSegment> {
    const known = (this.#sequence + this.#pending.length - segment.sequence) >>> 0;
    if (known > segment.payload.length) {
      if (known < 2 ** 31) return;
      throw new Error(`${this.#name}: the capture lacks bytes before ${segment.sequence}`);
    }
    this.#pending = Buffer.concat([this.#pending, segment.payload.subarray(known)]);
    for (let bytes = this.#frameBytes(); bytes !== null; bytes = this.#frameBytes()) {
      const payload = this.#pending.subarray(0, bytes);
      yield { ...segment, sequence: this.#sequence, payload };
      this.#sequence = (this.#sequence + bytes) >>> 0;
      this.#pending = this.#pending.subarray(bytes);
    }
  }

  end(): void {
    if (this.#pending.length > 0) {
      throw new Error(`${this.#name} ends with ${this.#pending.length} bytes of a frame`);
    }
  }

  /** The length of the frame at the front, or null while it is not all there. */
  #frameBytes(): number | null {
    const bytes = this.#isFramed ? this.#fpduBytes() : this.#startBytes();
    return bytes === null || this.#pending.length < bytes ? null : bytes;
  }

  #startBytes(): number | null {
    if (this.#pending.length < MPA_FRAME_BYTES) return null;
    if (this.#pending.toString('latin1', 0, MPA_KEY.length) !== MPA_KEY) {
      throw new Error(`${this.#name} does not begin with an MPA frame`);
    }
    const bytes = MPA_FRAME_BYTES + this.#pending.readUInt16BE(18);
    this.#isFramed = this.#pending.length >= bytes;
    return bytes;
  }

  #fpduBytes(): number | null {
    if (this.#pending.length < 4) return null;
    const ddpControl = this.#pending[2]!;
    const rdmapControl = this.#pending[3]!;
    const isDdp = (ddpControl & DDP_VERSION_MASK) === DDP_VERSION;
    if (!isDdp || (rdmapControl & RDMAP_VERSION_MASK) !== RDMAP_VERSION) {
      const control = this.#pending.toString('hex', 0, 4);
      throw new Error(`${this.#name} has no FPDU at ${this.#sequence}: ${control}`);
    }
    const unpadded = 2 + this.#pending.readUInt16BE(0);
    return Math.ceil(unpadded / 4) * 4 + CRC_BYTES;
  }
}
