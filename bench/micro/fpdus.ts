import { FpduReceiver } from '../../src/transport/iwarp/fpdu-receiver.js';
import { FpduWriter } from '../../src/transport/iwarp/fpdu-writer.js';
import {
  FPDU_LENGTH_BYTES,
  FpduHeader,
  RdmapOpcode,
  TAGGED_HEADER_BYTES,
  UNTAGGED_HEADER_BYTES,
} from '../../src/transport/iwarp/wire.js';
import { COPY_BYTES_MAX } from '../../src/transport/iwarp/limits.js';
import type { Micro } from './loop.js';

const KIB = 1024;
const RING_BYTES = 1024 * KIB;

/** An iSER command, a block of data, and a full FPDU of the default size. */
const PAYLOADS: readonly [name: string, bytes: number, isTagged: boolean, batch: number][] = [
  ['Send of 76 B', 76, false, 32],
  ['Write of 4 KiB', 4 * KIB, true, 32],
  ['Write of 60 KiB', 60 * KIB, true, 4],
];

export function fpduBenchmarks(): readonly Micro[] {
  return [false, true].flatMap((crc) =>
    PAYLOADS.flatMap(([name, bytes, isTagged, batch]) => {
      const suffix = `${name}${crc ? ', CRC' : ''}`;
      const perCall = { perCall: batch, bytes: bytes * batch };
      return [
        { name: `fpdu/send, ${suffix}`, ...perCall, run: sender(bytes, isTagged, batch, crc) },
        { name: `fpdu/receive, ${suffix}`, ...perCall, run: receiver(bytes, isTagged, batch, crc) },
      ];
    }),
  );
}

/** Builds a batch of FPDUs, which then leaves at once. */
function sender(bytes: number, isTagged: boolean, batch: number, crc: boolean): () => number {
  let left = 0;
  const sink = {
    write: (piece: Uint8Array, owner: { flushed(): void } | null) => {
      left += piece.length;
      owner?.flushed();
    },
  };
  const writer = new FpduWriter(sink, RING_BYTES, () => undefined);
  writer.usesCrc = crc;
  const payload = Buffer.alloc(bytes, 0x5a);
  const header = headerFor(bytes, isTagged);
  return () => {
    for (let index = 0; index < batch; index++) build(writer, header, payload);
    writer.flush(batch);
    return left;
  };
}

/** Takes a batch of FPDUs that arrived in one piece, and puts the payload where it goes. */
function receiver(bytes: number, isTagged: boolean, batch: number, crc: boolean): () => number {
  const stream = encodeBatch(bytes, isTagged, batch, crc);
  const destination = Buffer.alloc(bytes);
  let segments = 0;
  const machine = new FpduReceiver({
    onHeader: () => null,
    onPayload: (source, start, end) => {
      source.copy(destination, 0, start, end);
      return null;
    },
    onSegment: () => {
      segments++;
      return null;
    },
  });
  machine.usesCrc = crc;
  return () => {
    machine.receive(stream, 0, stream.length);
    if (machine.failure !== null) throw new Error(machine.failure.meaning);
    return segments;
  };
}

function encodeBatch(bytes: number, isTagged: boolean, batch: number, crc: boolean): Buffer {
  const pieces: Buffer[] = [];
  const sink = {
    write: (piece: Uint8Array) => {
      pieces.push(Buffer.from(piece));
    },
  };
  const writer = new FpduWriter(sink, RING_BYTES, () => undefined);
  writer.usesCrc = crc;
  const payload = Buffer.alloc(bytes, 0x5a);
  for (let index = 0; index < batch; index++) build(writer, headerFor(bytes, isTagged), payload);
  writer.flush(batch);
  return Buffer.concat(pieces);
}

function build(writer: FpduWriter, header: FpduHeader, payload: Buffer): void {
  const ddpBytes = header.isTagged ? TAGGED_HEADER_BYTES : UNTAGGED_HEADER_BYTES;
  const copied = payload.length <= COPY_BYTES_MAX ? payload.length : 0;
  writer.begin(header, FPDU_LENGTH_BYTES + ddpBytes, copied);
  if (copied > 0) writer.copy(payload, 0, payload.length);
  else writer.refer(payload, 0, payload.length);
  writer.finish();
}

function headerFor(bytes: number, isTagged: boolean): FpduHeader {
  const header = new FpduHeader();
  header.isTagged = isTagged;
  header.isLast = true;
  header.opcode = isTagged ? RdmapOpcode.write : RdmapOpcode.send;
  header.ulpduLength = bytes + (isTagged ? TAGGED_HEADER_BYTES : UNTAGGED_HEADER_BYTES);
  return header;
}
