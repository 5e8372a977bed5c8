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

/** The state of a connection-manager id, and its events to the owner. A destroyed id emits no events. */
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

  /** @throws VerbsError when the current state does not allow `call` */
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

  /** Emits `event` in a later turn, never inside a call of the owner. */
  emit(event: ConnectionEvent): void {
    this.later(() => this.#owner.onEvent(event));
  }

  later(action: () => void): void {
    soon(() => {
      if (this.#machine.state !== 'destroyed') action();
    });
  }
}

/** The handler of an id that was made for a request, until the owner sets a handler. */
export function ignoreEvent(): void {
  /* No owner listens yet. */
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= PORT_MAX;
}

/** @throws VerbsError when `privateData` is longer than every transport carries */
export function requirePrivateData(privateData: Uint8Array): void {
  if (privateData.length <= PRIVATE_DATA_BYTES_MAX) return;
  throw new VerbsError(
    'private-data-length',
    `A connection carries at most ${PRIVATE_DATA_BYTES_MAX} bytes of private data, not ${privateData.length}.`,
    { length: privateData.length },
  );
}

/**
 * A copy of the parameters for the peer, with read depths within the device's limits.
 * @throws VerbsError when the private data is too long
 */
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

/** @throws VerbsError when `queuePair` is null */
export function requireQueuePair<T>(queuePair: T | null, call: string): T {
  if (queuePair !== null) return queuePair;
  throw new VerbsError('connection-state', `${call} needs a queue pair; create it first.`);
}
