import type { FastRegion } from '../transport/verbs.js';

/** `iser_reg_resources`: a fast registration region, and whether its key is valid or will be valid. */
export class RegistrationResources {
  region: FastRegion | null = null;
  /** True from the posting of the REG_MR until the peer or we have revoked the key. */
  mrValid = false;
}
