import { InvariantError } from './assert.js';

/** Which states may follow each state. A state without a follower is a final state. */
export type Edges<State extends string> = Readonly<Record<State, readonly State[]>>;

/**
 * A state that changes only along the edges of a table. Any other change is a bug of ours, and fails an assertion. Beside
 * each table stands a drawing that describes the states.
 */
export class StateMachine<State extends string> {
  readonly #what: string;
  readonly #edges: Edges<State>;
  #state: State;

  /** `what` names the owner of the state in the assertion: "an NBD connection". */
  constructor(what: string, edges: Edges<State>, initial: State) {
    this.#what = what;
    this.#edges = edges;
    this.#state = initial;
  }

  get state(): State {
    return this.#state;
  }

  is(state: State): boolean {
    return this.#state === state;
  }

  /** @throws InvariantError for an edge that the table does not have. */
  enter(next: State): void {
    if (!this.#edges[this.#state].includes(next)) {
      throw new InvariantError(`${this.#what} cannot go from ${this.#state} to ${next}`);
    }
    this.#state = next;
  }
}
