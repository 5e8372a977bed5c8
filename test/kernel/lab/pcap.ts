/**
 * Captures as QEMU's filter-dump writes them (libpcap's classic format, host byte order, Ethernet), cut down to what the
 * lab reads and writes: TCP over IPv4, without options that matter.
 */
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const ETHERNET_BYTES = 14;
const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_TCP = 6;
const IP_HEADER_BYTES = 20;
const TCP_HEADER_BYTES = 20;
const LINKTYPE_RAW_IP = 101;
const WINDOW = 0xffff;

export const TcpFlag = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;

export interface TcpSegment {
  readonly seconds: number;
  readonly microseconds: number;
  /** IPv4 addresses as they are in the header. */
  readonly from: { readonly address: number; readonly port: number };
  readonly to: { readonly address: number; readonly port: number };
  readonly sequence: number;
  readonly flags: number;
  readonly payload: Buffer;
}

/** The TCP segments of a capture, in its order. */
export function* readSegments(capture: Buffer): Generator<TcpSegment> {
  if (capture.readUInt32LE(0) !== MAGIC_MICROSECONDS) throw new Error('not a capture of QEMU');
  let at = FILE_HEADER_BYTES;
  while (at + RECORD_HEADER_BYTES <= capture.length) {
    const bytes = capture.readUInt32LE(at + 8);
    const frame = capture.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + bytes);
    const segment = segmentOf(frame, capture.readUInt32LE(at), capture.readUInt32LE(at + 4));
    if (segment !== null) yield segment;
    at += RECORD_HEADER_BYTES + bytes;
  }
}

function segmentOf(frame: Buffer, seconds: number, microseconds: number): TcpSegment | null {
  if (frame.readUInt16BE(12) !== ETHERTYPE_IPV4) return null;
  const ip = frame.subarray(ETHERNET_BYTES);
  if (ip[9] !== PROTOCOL_TCP) return null;
  const tcp = ip.subarray((ip[0]! & 0x0f) * 4, ip.readUInt16BE(2));
  return {
    seconds,
    microseconds,
    from: { address: ip.readUInt32BE(12), port: tcp.readUInt16BE(0) },
    to: { address: ip.readUInt32BE(16), port: tcp.readUInt16BE(2) },
    sequence: tcp.readUInt32BE(4),
    flags: tcp[13]!,
    payload: tcp.subarray((tcp[12]! >> 4) * 4),
  };
}

/** A capture of these segments, for Wireshark; checksums are left out. */
export function encodeCapture(segments: readonly TcpSegment[]): Buffer {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  header.writeUInt32LE(MAGIC_MICROSECONDS, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(0x40000, 16);
  header.writeUInt32LE(LINKTYPE_RAW_IP, 20);
  return Buffer.concat([header, ...segments.map(encodeSegment)]);
}

function encodeSegment(segment: TcpSegment): Buffer {
  const { payload } = segment;
  const ipBytes = IP_HEADER_BYTES + TCP_HEADER_BYTES + payload.length;
  const record = Buffer.alloc(RECORD_HEADER_BYTES + ipBytes);
  record.writeUInt32LE(segment.seconds, 0);
  record.writeUInt32LE(segment.microseconds, 4);
  record.writeUInt32LE(ipBytes, 8);
  record.writeUInt32LE(ipBytes, 12);
  const ip = record.subarray(RECORD_HEADER_BYTES);
  ip[0] = 0x45;
  ip.writeUInt16BE(ipBytes, 2);
  ip[8] = 64;
  ip[9] = PROTOCOL_TCP;
  ip.writeUInt32BE(segment.from.address, 12);
  ip.writeUInt32BE(segment.to.address, 16);
  const tcp = ip.subarray(IP_HEADER_BYTES);
  tcp.writeUInt16BE(segment.from.port, 0);
  tcp.writeUInt16BE(segment.to.port, 2);
  tcp.writeUInt32BE(segment.sequence, 4);
  tcp[12] = (TCP_HEADER_BYTES / 4) << 4;
  tcp[13] = segment.flags;
  tcp.writeUInt16BE(WINDOW, 14);
  payload.copy(tcp, TCP_HEADER_BYTES);
  return record;
}
