import type { FastRegion } from '../transport/verbs.js';

/** `iser_reg_resources`: a fast registration region, and whether a key of it is, or is about to be, valid. */
export class RegistrationResources {
  region: FastRegion | null = null;
  /** From the posting of REG_MR until the key is known to be revoked, by the peer or by us. */
  mrValid = false;
}
