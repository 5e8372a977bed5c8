/**
 * The longest request that a {@link SplittingDevice} names as its limit: none, as a power of two that stays an exact
 * Number with any offset added.
 */
export const SPLIT_BYTES_MAX = 2 ** 52;

/**
 * Pieces that one splitting device has outstanding. Enough to keep the deepest command queue busy (LIO takes 64,
 * at most 512); what is above waits here rather than as one object per piece of a huge trim.
 */
export const SPLIT_PIECES_MAX = 256;

/** Bounce memory of one aligning device: 32 requests at 512-byte sectors, 4 at 4096. Unaligned requests are rare. */
export const BOUNCE_BYTES = 64 * 1024;

/** The largest piece of it: two edges of the largest sectors, 64 KiB, each as it was and as it is to be. */
export const BOUNCE_PIECE_BYTES_MAX = 256 * 1024;

/**
 * How often an edge is fetched and stored anew when somebody else has changed the sector in between. Two writers that
 * alternate need a few; a device whose compareAndWrite never succeeds must not be asked for ever.
 */
export const COMPARE_ATTEMPTS_MAX = 100;
