/** CDBs as arrays of bytes, for commands that a test sends. */
export const BLOCK = 512;

const u16 = (value: number) => [(value >> 8) & 0xff, value & 0xff];
const u32 = (value: number) => [...u16(value >>> 16), ...u16(value)];
const u64 = (value: number) => [...u32(Math.floor(value / 2 ** 32)), ...u32(value % 2 ** 32)];

export const testUnitReady = () => [0, 0, 0, 0, 0, 0];
export const inquiry = (allocationLength = 96) => [0x12, 0, 0, ...u16(allocationLength), 0];
export const read16 = (lba: number, blocks: number) => [0x88, 0, ...u64(lba), ...u32(blocks), 0, 0];
export const write16 = (lba: number, blocks: number) => [
  0x8a,
  0,
  ...u64(lba),
  ...u32(blocks),
  0,
  0,
];

/** `length` bytes that differ from place to place, and with `seed`. */
export function pattern(length: number, seed = 1): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) data.writeUInt32LE((at * 2654435761 + seed) >>> 0, at);
  return data;
}
