import { z } from 'zod';
import { UsageError } from '../common/errors.js';
import { DEFAULT_SIZE_CLASSES, SlabPool, sizeClassesWithin } from '../common/slab.js';
import { VANISHED_MS_MIN } from '../nbd/limits.js';
import type { NbdLimits } from '../nbd/limits.js';
import { parseSize } from '../store/lun-spec.js';

const MIB = 1024 * 1024;
/** Two slots of every size class: with less, a client could wait for ever. */
const BUFFER_BYTES_MIN = 80 * MIB;

const count = (max: number) => z.int().min(1).max(max).optional();
const seconds = z.number().min(0.1).max(86_400).optional();
const size = (min: number) =>
  z
    .string()
    .transform((text, context) => {
      const bytes = parseSize(text);
      if (bytes !== null && bytes >= min) return bytes;
      context.addIssue(`expected a size such as 64M, at least ${min / MIB}M`);
      return z.NEVER;
    })
    .optional();

/** `limits` of the configuration: the limits of a server. */
export const limitsSchema = z.strictObject({
  /** The most connections at a time, in all and from one address. */
  connections: count(65_536),
  connectionsPerAddress: count(65_536),
  handshakeSeconds: seconds,
  /** How long a client may stop within a message: in general, and while others wait for the buffers that it holds. */
  stallSeconds: seconds,
  contendedStallSeconds: seconds,
  /** How long a client's host may leave the kernel's probes unanswered before the client counts as gone. */
  vanishedSeconds: z
    .number()
    .min(VANISHED_MS_MIN / 1000)
    .max(86_400)
    .optional(),
  /** The limits of one connection. */
  requestsInFlight: count(65_536),
  bytesInFlight: size(MIB),
  /** The memory for the data of the requests of all connections. */
  bytesInFlightTotal: size(BUFFER_BYTES_MIN),
});

export type LimitsConfig = z.infer<typeof limitsSchema>;

/** The limits that are set; the others keep their defaults. */
export function nbdLimits(config: LimitsConfig = {}): Partial<NbdLimits> {
  const ms = (value: number | undefined): number | undefined =>
    value === undefined ? undefined : value * 1000;
  return withoutUndefined({
    connectionsMax: config.connections,
    connectionsPerAddressMax: config.connectionsPerAddress,
    handshakeMs: ms(config.handshakeSeconds),
    stallMs: ms(config.stallSeconds),
    contendedStallMs: ms(config.contendedStallSeconds),
    vanishedMs: ms(config.vanishedSeconds),
    inFlightMax: config.requestsInFlight,
    inFlightBytesMax: config.bytesInFlight,
  });
}

/**
 * The limits of one of several workers. Each gets an equal share of the memory for requests. The other limits are not
 * divided; those on the number of connections are enforced by the primary.
 *
 * @throws UsageError when a share is too small
 */
export function limitsOfWorker(config: LimitsConfig = {}, workers: number): LimitsConfig {
  const { bytesInFlightTotal } = config;
  if (bytesInFlightTotal === undefined) return config;
  const share = Math.floor(bytesInFlightTotal / workers);
  if (share < BUFFER_BYTES_MIN) {
    const leastMib = (workers * BUFFER_BYTES_MIN) / MIB;
    throw new UsageError(
      'limits',
      `limits.bytesInFlightTotal is too small for ${workers} workers; they need at least ${leastMib}M`,
    );
  }
  return { ...config, bytesInFlightTotal: share };
}

/** The buffers of NBD requests. */
export function bufferPool({ bytesInFlightTotal }: LimitsConfig = {}): SlabPool {
  return new SlabPool(
    bytesInFlightTotal === undefined ? DEFAULT_SIZE_CLASSES : sizeClassesWithin(bytesInFlightTotal),
  );
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(values: T): Defined<T> {
  const defined = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(defined) as Defined<T>;
}
