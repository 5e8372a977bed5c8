/** Bytes as they were seen on wires, or as the RFCs give them. Spaces are for the reader. */

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s+/g, ''), 'hex');
const key = (text: string): string => Buffer.from(text, 'latin1').toString('hex');

/** IRD 16, ORD 1, and ib_iser's connection header (zero based virtual addresses not supported). */
export const mpaRequestOfIser = hex(`${key('MPA ID Req Frame')} 10 02 0008 0010 0001 80000000`);

/** Linux soft-iWARP with isert: IRD 1, ORD 16. */
export const mpaReplyOfSiw = hex(`${key('MPA ID Rep Frame')} 10 02 0008 0001 0010 80000000`);

/** Linux soft-iWARP when asked for markers. */
export const mpaRejectOfSiw = hex(`${key('MPA ID Rep Frame')} 30 02 0004 00000000`);

/** RDMA Write of eight bytes, last segment, CRC off. */
export const writeFpdu = hex('0016 c140 11223344 8000000afffff010 0102030405060708 00000000');

/** The first half of a two-segment RDMA Write: without the L bit. */
export const writeFirstFpdu = hex('0012 8140 11223344 8000000afffff010 01020304 00000000');

/** Send number 7 of five bytes: a pad of one. */
export const sendFpdu = hex(
  '0017 4143 00000000 00000000 00000007 00000000 0102030405 000000 00000000',
);

/** Send with Invalidate of nothing. */
export const sendInvalidateFpdu = hex('0012 4144 aabbccdd 00000000 00000001 00000000 00000000');

/** RDMA Read Request number 1 for 4096 bytes: length word 46. */
export const readRequestFpdu = hex(
  `002e 4141 00000000 00000001 00000001 00000000
   01020304 1112131415161718 00001000 21222324 3132333435363738 00000000`,
);

/** RDMA Read Response. */
export const readResponseFpdu = hex('0012 c142 01020304 1112131415161718 deadbeef 00000000');

/** Terminates as Linux soft-iWARP sends them from a little-endian host: bit fields the other way round. */
export const siwTerminateNoBuffer = hex('21020300 004c 4143 00000000 00000000 00000081 00000000');
export const siwTerminateCrc = hex('02020000');
export const siwTerminateSourceStag = hex('10000700 001c 4141 00000000 00000001 00000001 00000000');

/** The same reason as RFC 5040 lays it out. */
export const rfcTerminateNoBuffer = hex('1202c000 005e 4143 00000000 00000000 00000081 00000000');
