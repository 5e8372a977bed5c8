import type { Edges } from '../common/state-machine.js';
import { StateMachine } from '../common/state-machine.js';
import { ChapError, ChapInitiator } from '../iscsi/chap.js';
import type { ChapCredentials, RandomBytes } from '../iscsi/chap.js';
import { IscsiLoginError, IscsiProtocolError } from '../iscsi/errors.js';
import { pairsByKey } from '../iscsi/text.js';
import type { TextPair } from '../iscsi/text.js';

export type AuthMethod = 'CHAP' | 'None';

/** The next keys of the security stage. `isDone` asks to leave the stage. */
export interface AuthenticationStep {
  readonly pairs: readonly TextPair[];
  readonly isDone: boolean;
}

const NOTHING_MORE: AuthenticationStep = { pairs: [], isDone: true };

const EDGES: Edges<'method' | 'challenge' | 'proof' | 'done'> = {
  method: ['challenge', 'done'],
  challenge: ['proof'],
  proof: ['done'],
  done: [],
};

/**
 * The initiator's security stage (RFC 7143 section 12):
 *
 *     method ──None──────────────────────────────────▶ done
 *        └────CHAP──▶ challenge ──CHAP_C──▶ proof ───▶ done
 */
export class InitiatorAuthentication {
  readonly #machine = new StateMachine('an authentication', EDGES, 'method');
  readonly #chap: ChapInitiator | null;
  readonly #methods: readonly AuthMethod[];
  #chosen: AuthMethod = 'None';

  constructor(credentials: ChapCredentials | undefined, randomBytes: RandomBytes) {
    this.#chap = credentials === undefined ? null : new ChapInitiator(credentials, randomBytes);
    if (credentials === undefined) this.#methods = ['None'];
    // With mutual CHAP the target must prove its identity, so None is not offered.
    else this.#methods = credentials.mutual === undefined ? ['CHAP', 'None'] : ['CHAP'];
  }

  get method(): AuthMethod {
    return this.#chosen;
  }

  /** The CHAP offer that the target has not answered yet, or null. */
  get openOffer(): string | null {
    return this.#machine.state === 'challenge' && this.#chap !== null ? this.#chap.offer : null;
  }

  /** True when every proof that we or the target demanded is complete. */
  get isDone(): boolean {
    return this.#machine.state === 'done';
  }

  start(): AuthenticationStep {
    const value = this.#methods.join(',');
    return { pairs: [{ key: 'AuthMethod', value }], isDone: this.#chap === null };
  }

  /** Takes the security keys of one complete answer. `transits`: the target leaves the stage with this answer. */
  receive(pairs: readonly TextPair[], transits: boolean): AuthenticationStep {
    const keys = pairsByKey(pairs);
    try {
      return this.#advance(keys, transits);
    } catch (error) {
      if (!(error instanceof ChapError)) throw error;
      if (error.code === 'chap-malformed') throw new IscsiProtocolError(error.message);
      throw new IscsiLoginError(`iscsi-${error.code}`, error.message, {}, error);
    }
  }

  #advance(keys: ReadonlyMap<string, string>, transits: boolean): AuthenticationStep {
    switch (this.#machine.state) {
      case 'method':
        return this.#takeMethod(keys, transits);
      case 'challenge': {
        refuseTransit(transits);
        const pairs = this.#exchange().respond(keys);
        this.#machine.enter('proof');
        return { pairs, isDone: true };
      }
      case 'proof':
        if (this.#exchange().wantsProof) this.#exchange().checkProof(keys);
        else refuseKeys(keys);
        this.#machine.enter('done');
        return NOTHING_MORE;
      case 'done':
        refuseKeys(keys);
        return NOTHING_MORE;
    }
  }

  #takeMethod(keys: ReadonlyMap<string, string>, transits: boolean): AuthenticationStep {
    const value = keys.get('AuthMethod');
    if (value === 'Reject') {
      throw new IscsiLoginError(
        'iscsi-auth-rejected',
        `the target accepts none of the authentication methods ${this.#methods.join(',')}; check whether it wants CHAP`,
      );
    }
    // Some targets do not answer an offer of a single method.
    const chosen = this.#methods.find((method) => method === (value ?? 'None'));
    if (chosen === undefined) {
      throw new IscsiProtocolError(
        'the target chose an authentication method that was not offered',
      );
    }
    this.#chosen = chosen;
    if (chosen === 'None') {
      this.#machine.enter('done');
      return NOTHING_MORE;
    }
    refuseTransit(transits);
    this.#machine.enter('challenge');
    return { pairs: this.#exchange().start(), isDone: false };
  }

  #exchange(): ChapInitiator {
    if (this.#chap === null)
      throw new IscsiProtocolError('the target started CHAP without our offer');
    return this.#chap;
  }
}

function refuseTransit(transits: boolean): void {
  if (transits) {
    throw new IscsiProtocolError('the target left the security stage before CHAP was finished');
  }
}

function refuseKeys(keys: ReadonlyMap<string, string>): void {
  const [key] = keys.keys();
  if (key !== undefined) {
    throw new IscsiProtocolError(`the target sent the security key ${key} out of turn`, { key });
  }
}
