/**
 * Who wants a request done: one NBD connection. Requests and commands carry it down the layers, so that each can see
 * whether anybody still waits for their end.
 */
export class Requester {
  /** Nobody waits for an answer any more. A layer drops what it has not passed on yet. */
  isGone = false;
  /** Ranges that a {@link RangeLock} holds for this requester. The lock counts them. */
  heldCount = 0;
}

/** The requester of what this program wants for itself. */
export const NOBODY = new Requester();
