import { soon } from '../common/later.js';
import { StateMachine } from '../common/state-machine.js';
import type { Edges } from '../common/state-machine.js';
import { PORT_MAX, PRIVATE_DATA_BYTES_MAX } from './limits.js';
import type {
  ConnectionEvent,
  ConnectionEventHandler,
  ConnectionParameters,
  DeviceAttributes,
} from './verbs.js';
import { VerbsError } from './verbs.js';

/** The state of a connection-manager id, and the events that it gives its owner until it is destroyed. */
export class ConnectionLife<State extends string> {
  readonly #machine: StateMachine<State>;
  readonly #owner: { readonly onEvent: ConnectionEventHandler };

  constructor(
    owner: { readonly onEvent: ConnectionEventHandler },
    initial: State,
    edges: Edges<State>,
  ) {
    this.#owner = owner;
    this.#machine = new StateMachine('a connection id', edges, initial);
  }

  get state(): State {
    return this.#machine.state;
  }

  /** @throws VerbsError when `call` is not one of the current state. */
  require(call: string, ...allowed: readonly State[]): void {
    if (allowed.includes(this.#machine.state)) return;
    throw new VerbsError(
      'connection-state',
      `${call} on a connection that is ${this.#machine.state}.`,
      {
        state: this.#machine.state,
      },
    );
  }

  enter(next: State): void {
    this.#machine.enter(next);
  }

  /** Events never come from inside of a call, so that the caller need not be ready for them. */
  emit(event: ConnectionEvent): void {
    this.later(() => this.#owner.onEvent(event));
  }

  later(action: () => void): void {
    soon(() => {
      if (this.#machine.state !== 'destroyed') action();
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
