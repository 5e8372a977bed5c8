import { soon } from '../common/later.js';
import { assert } from '../common/assert.js';
import { PORT_MAX, PRIVATE_DATA_BYTES_MAX } from './limits.js';
import type {
  ConnectionEvent,
  ConnectionEventHandler,
  ConnectionParameters,
  DeviceAttributes,
} from './verbs.js';
import { VerbsError } from './verbs.js';

/** From every state to those that may follow it. */
export type Transitions<State extends string> = Readonly<Record<State, readonly State[]>>;

/** The state of a connection-manager id, and the events that it gives its owner until it is destroyed. */
export class ConnectionLife<State extends string> {
  #state: State;
  readonly #transitions: Transitions<State>;
  readonly #owner: { readonly onEvent: ConnectionEventHandler };

  constructor(
    owner: { readonly onEvent: ConnectionEventHandler },
    initial: State,
    transitions: Transitions<State>,
  ) {
    this.#owner = owner;
    this.#state = initial;
    this.#transitions = transitions;
  }

  get state(): State {
    return this.#state;
  }

  /** @throws VerbsError when `call` is not one of the current state. */
  require(call: string, ...allowed: readonly State[]): void {
    if (allowed.includes(this.#state)) return;
    throw new VerbsError('connection-state', `${call} on a connection that is ${this.#state}.`, {
      state: this.#state,
    });
  }

  enter(next: State): void {
    const isAllowed = this.#transitions[this.#state].includes(next);
    assert(isAllowed, `connection id ${this.#state} -> ${next}`);
    this.#state = next;
  }

  /** Events never come from inside of a call, so that the caller need not be ready for them. */
  emit(event: ConnectionEvent): void {
    this.later(() => this.#owner.onEvent(event));
  }

  later(action: () => void): void {
    soon(() => {
      if (this.#state !== 'destroyed') action();
    });
  }
}

/** The handler of an id that was born with a request, until its listener's owner sets one. */
export function ignoreEvent(): void {
  /* There is nobody to tell. */
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= PORT_MAX;
}

/** @throws VerbsError when it is longer than every transport carries. */
export function requirePrivateData(privateData: Uint8Array): void {
  if (privateData.length <= PRIVATE_DATA_BYTES_MAX) return;
  throw new VerbsError(
    'private-data-length',
    `A connection carries at most ${PRIVATE_DATA_BYTES_MAX} bytes of private data, not ${privateData.length}.`,
    { length: privateData.length },
  );
}

/** What goes to the peer: a copy, with read depths that the device has. @throws VerbsError */
export function parametersToSend(
  parameters: ConnectionParameters,
  device: DeviceAttributes,
): ConnectionParameters {
  requirePrivateData(parameters.privateData);
  return {
    privateData: parameters.privateData.slice(),
    responderResources: Math.min(parameters.responderResources, device.readDepthResponderMax),
    initiatorDepth: Math.min(parameters.initiatorDepth, device.readDepthInitiatorMax),
  };
}

/** @throws VerbsError when there is none. */
export function requireQueuePair<T>(queuePair: T | null, call: string): T {
  if (queuePair !== null) return queuePair;
  throw new VerbsError('connection-state', `${call} needs a queue pair; create it first.`);
}
