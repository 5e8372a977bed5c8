/** A broken invariant: a bug of ours, never a consequence of input. It must not travel as an I/O error. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * Throws {@link InvariantError} unless `condition` holds. For bugs only; input is checked with typed errors. On the data
 * path `message` is a constant: a template would be built at every call, also when `condition` holds.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
