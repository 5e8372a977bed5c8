import type { Edges } from '../../common/state-machine.js';
import { StateMachine } from '../../common/state-machine.js';
import { ChapError, ChapTarget } from '../../iscsi/chap.js';
import type { RandomBytes } from '../../iscsi/chap.js';
import type { TextPair } from '../../iscsi/text.js';
import type { LoginPolicy } from './login-policy.js';

/**
 * The state of the authentication:
 *
 *     unproved -- AuthMethod chosen: CHAP --> method -- CHAP_A --> challenged -- CHAP_N, CHAP_R --> proved
 *         `------ AuthMethod chosen: None ------------------------------------------------------------^
 *
 * A target that requires no proof starts in `proved`.
 */
type SecurityState = 'unproved' | 'method' | 'challenged' | 'proved';

const EDGES: Edges<SecurityState> = {
  unproved: ['method'],
  method: ['challenged'],
  challenged: ['proved'],
  proved: ['method'],
};

/** The target's side of a login's security stage. Pure. */
export class LoginSecurity {
  readonly #chap: ChapTarget | null;
  readonly #isRequired: boolean;
  readonly #machine: StateMachine<SecurityState>;
  /** The authenticated CHAP user. */
  user: string | null = null;

  constructor(policy: LoginPolicy, sessionType: string, randomBytes: RandomBytes) {
    const { chap } = policy;
    // Discovery reveals only names, so a proof is optional there unless the policy requires one.
    this.#isRequired = chap !== null && (sessionType === 'Normal' || policy.discoveryAuth);
    this.#machine = new StateMachine(
      'the security of a login',
      EDGES,
      this.#isRequired ? 'unproved' : 'proved',
    );
    this.#chap =
      chap === null
        ? null
        : new ChapTarget({
            secretOf: (user) => (user === chap.user ? chap.secret : null),
            mutual: chap.mutual,
            ...(chap.algorithms === undefined ? {} : { algorithms: chap.algorithms }),
            randomBytes,
          });
  }

  /** True when no proof is missing, so the login may leave the security stage. */
  get isProved(): boolean {
    return this.#machine.state === 'proved';
  }

  /**
   * Takes the security keys of one request and returns the answers.
   * @throws ChapError when the authentication fails
   */
  receive(keys: ReadonlyMap<string, string>): TextPair[] {
    const answers: TextPair[] = [];
    const methods = keys.get('AuthMethod');
    if (methods !== undefined) answers.push(this.#chooseMethod(methods.split(',')));
    if (keys.has('CHAP_A')) {
      this.#require('method', 'CHAP_A');
      answers.push(...this.#requireChap().challenge(keys));
      this.#machine.enter('challenged');
    }
    if (keys.has('CHAP_N') || keys.has('CHAP_R')) {
      this.#require('challenged', 'CHAP_N and CHAP_R');
      const { user, proof } = this.#requireChap().verify(keys);
      answers.push(...proof);
      this.user = user;
      this.#machine.enter('proved');
    }
    return answers;
  }

  #chooseMethod(offered: readonly string[]): TextPair {
    const mayStay =
      this.#machine.state === 'unproved' ||
      (this.#machine.state === 'proved' && this.user === null);
    if (!mayStay) throw new ChapError('chap-malformed', 'AuthMethod came out of turn');
    if (!this.#isRequired && offered.includes('None')) {
      return { key: 'AuthMethod', value: 'None' };
    }
    if (this.#chap !== null && offered.includes('CHAP')) {
      this.#machine.enter('method');
      return { key: 'AuthMethod', value: 'CHAP' };
    }
    throw new ChapError(
      'chap-method',
      this.#chap === null
        ? 'the initiator requires an authentication, but the target has no CHAP user'
        : 'the initiator does not offer CHAP, but the target requires CHAP',
    );
  }

  #require(state: SecurityState, what: string): void {
    if (this.#machine.state !== state)
      throw new ChapError('chap-malformed', `${what} came out of turn`);
  }

  #requireChap(): ChapTarget {
    if (this.#chap === null) throw new ChapError('chap-malformed', 'CHAP was not agreed on');
    return this.#chap;
  }
}
