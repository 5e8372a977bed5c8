import { createHash } from 'node:crypto';

/** The relative identifier of the only target port, and of its group: implementations put both at 1 then. */
export const TARGET_PORT = 1;

/** How a logical unit tells who it is (VPD pages 80 and 83). */
export interface DiskIdentity {
  readonly targetName: string;
  /** 16 hexadecimal digits. */
  readonly serial: string;
  /** NAA type 3, locally assigned (SPC-4 7.8.6.6.4). */
  readonly naa: Uint8Array;
}

/**
 * The identity of a target's logical unit: random-looking, stable over restarts as far as the store's is, and different
 * for each store. It does not depend on the LUN: an initiator must see when another disk is put under the same number.
 */
export function diskIdentity(targetName: string, storeIdentity: string): DiskIdentity {
  const digest = createHash('sha256').update(`${targetName}\n${storeIdentity}`).digest();
  const naa = Uint8Array.from(digest.subarray(0, 8));
  naa[0] = 0x30 | ((naa[0] ?? 0) & 0x0f);
  return { targetName, serial: digest.subarray(8, 16).toString('hex'), naa };
}
