import type { SendWorkRequest, WorkCompletion } from '../transport/verbs.js';
import type { RegistrationPool } from './memory-registration.js';

/** What a registration scheme needs from a connection (`ib_conn`). */
export interface RegistrationHost {
  registrationPool: RegistrationPool | null;
  readonly isUsable: boolean;
  readonly piSupport: boolean;
  /** Posts a LOCAL_INV. The send queue has room for one per command. */
  postInvalidate(request: SendWorkRequest): void;
  /** A LOCAL_INV has completed. */
  invalidated(completion: WorkCompletion): void;
}
