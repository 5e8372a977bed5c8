/**
 * The limit that a {@link SplittingDevice} reports, which means no limit: a power of two, so large that no request
 * reaches it, and so small that it stays an exact Number with any offset added.
 */
export const SPLIT_BYTES_MAX = 2 ** 52;

/**
 * How many pieces one splitting device has outstanding. Enough to keep the deepest command queue busy (LIO takes 64, at
 * most 512). With a bound, a huge trim does not become an object per piece all at once.
 */
export const SPLIT_PIECES_MAX = 256;

/** Bounce memory of one aligning device: 32 requests at 512-byte sectors, 4 at 4096. Unaligned requests are rare. */
export const BOUNCE_BYTES = 64 * 1024;

/**
 * Aligning devices that one process has at once. Each is an export, whose receives take 4.5 MiB: memory for commands is
 * used up before memory for edges, 64 KiB each, is.
 */
export const BOUNCE_DEVICES_MAX = 1024;

/** The largest piece of bounce memory: two edges, each with two of the largest sectors (64 KiB), old and new. */
export const BOUNCE_PIECE_BYTES_MAX = 256 * 1024;

/**
 * How often an edge is fetched and stored anew because another program has changed the sector in between. Two writers
 * that alternate need a few tries. A bound is needed for a device whose compareAndWrite never succeeds.
 */
export const COMPARE_ATTEMPTS_MAX = 100;
