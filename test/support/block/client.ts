import { expect } from 'vitest';
import { BlockOp, BlockRequest } from '../../../src/block/device.js';
import type { BlockDevice, BlockStatus } from '../../../src/block/device.js';
import { Slab } from '../../../src/common/slab.js';

/** What a test asks for; the rest has its default. */
export type RequestFields = Partial<
  Pick<
    BlockRequest,
    | 'op'
    | 'offset'
    | 'length'
    | 'forceUnitAccess'
    | 'noHole'
    | 'fastOnly'
    | 'slab'
    | 'slabOffset'
    | 'requester'
  >
>;

/**
 * Submits a request and resolves with its status. On the way it checks the contract: `done` is called once, not
 * inside submit, and with the request itself.
 */
export function submit(device: BlockDevice, fields: RequestFields): Promise<BlockStatus> {
  return new Promise((resolve, reject) => {
    let isInside = true;
    let doneCount = 0;
    const request = new BlockRequest((done) => {
      doneCount++;
      try {
        expect(done).toBe(request);
        expect(isInside, 'done inside submit').toBe(false);
        expect(doneCount, 'done more than once').toBe(1);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      resolve(done.status);
    });
    Object.assign(request, fields);
    device.submit(request);
    isInside = false;
  });
}

/** Reads into fresh memory that is full of a pattern, so that bytes the device left out are seen. */
export async function read(
  device: BlockDevice,
  offset: number,
  length: number,
): Promise<{ status: BlockStatus; bytes: Uint8Array }> {
  const margin = 64;
  const slab = new Slab(length + 2 * margin);
  slab.bytes.fill(0xa5);
  const fields = { op: BlockOp.read, offset, length, slab, slabOffset: margin };
  const status = await submit(device, fields);
  const around = [...slab.bytes.subarray(0, margin), ...slab.bytes.subarray(margin + length)];
  expect(
    around.every((byte) => byte === 0xa5),
    'bytes around the buffer were touched',
  ).toBe(true);
  return { status, bytes: Uint8Array.from(slab.bytes.subarray(margin, margin + length)) };
}

/** Writes `bytes`, from a place in the middle of a slab. */
export function write(
  device: BlockDevice,
  offset: number,
  bytes: Uint8Array,
  fields: RequestFields = {},
): Promise<BlockStatus> {
  const slab = new Slab(bytes.length + 64);
  slab.bytes.set(bytes, 64);
  const data = { slab, slabOffset: 64, length: bytes.length };
  return submit(device, { op: BlockOp.write, offset, ...data, ...fields });
}

/** Bytes that tell their place: no two sectors of a pattern are alike. */
export function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    // Never zero, so that a pattern is not taken for a hole.
    bytes[index] = (state >>> 24) | 1;
  }
  return bytes;
}
