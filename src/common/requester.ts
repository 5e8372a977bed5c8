/**
 * The origin of a request: one NBD connection. Requests and commands carry it down the layers, so that each layer can
 * see whether a client still waits for the result.
 */
export class Requester {
  /** No client waits for an answer any more. A layer drops requests that it has not passed on yet. */
  isGone = false;
  /** The number of ranges that a {@link RangeLock} holds for this requester. Only the lock writes it. */
  heldCount = 0;
}

/** The requester of requests that this program makes for itself. */
export const NOBODY = new Requester();
