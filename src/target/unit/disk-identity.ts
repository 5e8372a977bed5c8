import { createHash } from 'node:crypto';

/**
 * The relative identifier of the only target port, and of its group. With one port, other implementations use 1 for
 * both.
 */
export const TARGET_PORT = 1;

/** The identity that a logical unit reports (VPD pages 80 and 83). */
export interface DiskIdentity {
  readonly targetName: string;
  /** 16 hexadecimal digits. */
  readonly serial: string;
  /** NAA type 3, locally assigned (SPC-4 7.8.6.6.4). */
  readonly naa: Uint8Array;
}

/**
 * The identity of a target's logical unit: a hash, different for each store, and as stable over restarts as the
 * store's identity. It does not depend on the LUN, because an initiator must notice another disk at the same LUN.
 */
export function diskIdentity(targetName: string, storeIdentity: string): DiskIdentity {
  const digest = createHash('sha256').update(`${targetName}\n${storeIdentity}`).digest();
  const naa = Uint8Array.from(digest.subarray(0, 8));
  naa[0] = 0x30 | ((naa[0] ?? 0) & 0x0f);
  return { targetName, serial: digest.subarray(8, 16).toString('hex'), naa };
}
