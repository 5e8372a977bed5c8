import type { SendWorkRequest, WorkCompletion } from '../transport/verbs.js';
import type { RegistrationPool } from './memory-registration.js';

/** What registration needs of a connection (`ib_conn`). */
export interface RegistrationHost {
  registrationPool: RegistrationPool | null;
  readonly isUsable: boolean;
  readonly piSupport: boolean;
  /** Posts a LOCAL_INV; each command has room for one. */
  postInvalidate(request: SendWorkRequest): void;
  /** A LOCAL_INV has completed. */
  invalidated(completion: WorkCompletion): void;
}
