import type { FastRegion } from '../transport/verbs.js';
import { RegistrationResources } from './registration-resources.js';

/**
 * `iser_pi_context`, T10 protection information: the registration of a command's protection buffer, and the signature
 * region that connects protection and data. A registration descriptor has a context if its connection supports
 * protection (`piSupport`). No code uses the context yet.
 */
export class ProtectionContext {
  /** The protection buffer's registration. */
  readonly resources = new RegistrationResources();
  signatureRegion: FastRegion | null = null;
  isSignatureRegionValid = false;
  /** The command that uses the descriptor is protected. */
  isProtected = false;
}
