import type { BenchOptions } from './options.js';

/** One load that every contestant gets. */
export interface Case {
  /** `4k-randread-qd32-c1` */
  readonly name: string;
  readonly pattern: 'randread' | 'randwrite' | 'randrw' | 'read' | 'write';
  readonly blockBytes: number;
  /** Requests in flight on each connection. */
  readonly depth: number;
  readonly connections: number;
  /** How long the client waits between an answer and its next request. */
  readonly thinkUs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** What the core table consists of; the criteria are stated for these. */
export const CORE_CASES: readonly Case[] = [
  one('randread', 4 * KIB, 1),
  one('randwrite', 4 * KIB, 1),
  one('randread', 4 * KIB, 32),
  one('randwrite', 4 * KIB, 32),
  one('read', MIB, 4),
  one('write', MIB, 4),
];

const DEPTHS = [1, 8, 32, 128];
const CONNECTIONS = [4, 16, 64];

/** Everything, in the order of the report. */
export const ALL_CASES: readonly Case[] = [
  ...(['randread', 'randwrite', 'randrw'] as const).flatMap((pattern) =>
    DEPTHS.map((depth) => one(pattern, 4 * KIB, depth)),
  ),
  one('read', 128 * KIB, 8),
  one('write', 128 * KIB, 8),
  one('read', MIB, 4),
  one('write', MIB, 4),
  ...(['randread', 'randwrite', 'randrw'] as const).flatMap((pattern) =>
    CONNECTIONS.map((connections) => one(pattern, 4 * KIB, 32, connections)),
  ),
];

/** Clients that are slow in asking, for the price of polling; only when `--cases think` asks for them. */
const THINK_CASES: readonly Case[] = [20, 100, 1000].map((thinkUs) => ({
  ...one('randread', 4 * KIB, 1),
  name: `4k-randread-think-${thinkUs}us`,
  thinkUs,
}));

export function selectCases({ quick, cases }: BenchOptions): readonly Case[] {
  if (cases === null) return quick ? CORE_CASES : ALL_CASES;
  const from = [...ALL_CASES, ...THINK_CASES];
  // Whole words of the name only: qd32 is not qd3, and c1 not c16.
  return from.filter(({ name }) => cases.some((part) => `-${name}-`.includes(`-${part}-`)));
}

export function titleOf({ pattern, blockBytes, depth, connections, thinkUs }: Case): string {
  const size = blockBytes >= MIB ? `${blockBytes / MIB}M` : `${blockBytes / KIB}k`;
  const what = {
    randread: 'randread',
    randwrite: 'randwrite',
    randrw: 'rand 70/30',
    read: 'seq read',
    write: 'seq write',
  }[pattern];
  const many = connections === 1 ? '' : ` × ${connections} connections`;
  const slow = thinkUs === 0 ? '' : `, ${thinkUs} µs of thinking`;
  return `${size} ${what} QD${depth}${many}${slow}`;
}

function one(pattern: Case['pattern'], blockBytes: number, depth: number, connections = 1): Case {
  const size = blockBytes >= MIB ? `${blockBytes / MIB}m` : `${blockBytes / KIB}k`;
  return {
    name: `${size}-${pattern}-qd${depth}-c${connections}`,
    pattern,
    blockBytes,
    depth,
    connections,
    thinkUs: 0,
  };
}
