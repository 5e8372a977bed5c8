import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export const HELP = `npm run bench -- [options]

Measures NBD servers side by side with fio, interleaved, on the same cores.

  --quick              the core table (6 cases, 3 rounds, 0.8 s each) in under 3 minutes; nothing is written
  --only A,B           contestants: nbdkit, qemu-tgt, embedded, iwarp, iwarp-crc, iwarp-workers (--workers 2),
                       embedded-sleep (--poll-us 0), base-embedded, base-iwarp
  --cases A,B          cases by parts of their name, as in --cases randread-qd32-c1,1m; also think: slow clients
  --list               list the contestants and cases, and end
  --rounds N           rounds per case; each is one run of every contestant [5; quick 3]
  --seconds S          measured time of one run [2; quick 0.8]
  --ramp S             time before it that does not count [0.5; quick 0.2]
  --lun-mib N          size of each LUN [256]
  --socket KIND        unix or tcp, between fio and the NBD servers [unix; a full run ends with the core table on tcp]
  --server-cpus LIST   cores of the NBD servers [0]
  --target-cpus LIST   cores of the target processes behind them [as --server-cpus]
  --client-cpus LIST   cores of fio [1]
  --no-pin             leave the placement to the scheduler
  --noise PERCENT      a run counts as noisy when others used more than this of one core [12]
  --retries N          rounds that are run again per case because of noise [5; quick 2]
  --program MAIN       our program [dist/cli/main.js]
  --baseline MAIN      another build of our program; adds base-embedded and base-iwarp and the ratios to them
  --serve-arg ARG      an argument more for serve, as in --serve-arg=--poll-us=50; repeatable
  --target-arg ARG     an argument more for target; repeatable
  --node-arg ARG       an argument more for node; repeatable
  --profile DIR        have our processes write CPU profiles into DIR, and sum them up
  --json FILE          write the results there as well
  --write              write bench/results.json and docs/performance/results.md even though the run is not a full one
  --soak MINUTES       instead: 64 connections x QD32 for so long, with the memory of our processes over time
  --micro              instead: microbenchmarks of codecs, FPDUs, region checks, CRC, and the chain
                       without sockets, which --baseline compares; --cases selects
  --help
`;

export type SocketKind = 'unix' | 'tcp';

export interface BenchOptions {
  readonly quick: boolean;
  /** Contestant names; null takes the default ones. */
  readonly only: readonly string[] | null;
  /** Parts of case names; null takes all of the run's kind. */
  readonly cases: readonly string[] | null;
  readonly list: boolean;
  readonly help: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly rampSeconds: number;
  readonly lunMib: number;
  readonly socket: SocketKind | null;
  /** Lists of cores as taskset takes them; null where nothing is pinned. */
  readonly serverCpus: string | null;
  readonly targetCpus: string | null;
  readonly clientCpus: string | null;
  readonly noisePercent: number;
  readonly retries: number;
  readonly program: string | null;
  readonly baseline: string | null;
  readonly serveArgs: readonly string[];
  readonly targetArgs: readonly string[];
  readonly nodeArgs: readonly string[];
  readonly profile: string | null;
  readonly json: string | null;
  readonly write: boolean;
  readonly soakMinutes: number | null;
  readonly micro: boolean;
}

/** The command line is wrong; the message is for its user. */
export class OptionError extends Error {}

const STRING = { type: 'string' } as const;
const STRINGS = { type: 'string', multiple: true } as const;
const FLAG = { type: 'boolean', default: false } as const;

/** @throws OptionError */
export function parseOptions(args: readonly string[]): BenchOptions {
  const given = parseOrRefuse(args);
  const quick = given.quick;
  const pinned = !given['no-pin'];
  const serverCpus = given['server-cpus'] ?? '0';
  const socket = given.socket ?? null;
  if (socket !== null && socket !== 'unix' && socket !== 'tcp') {
    throw new OptionError(`--socket ${socket}: unix or tcp`);
  }
  return {
    quick,
    only: listOf(given.only),
    cases: listOf(given.cases),
    list: given.list,
    help: given.help,
    rounds: numberOf('rounds', given.rounds, quick ? 3 : 5),
    seconds: numberOf('seconds', given.seconds, quick ? 0.8 : 2),
    rampSeconds: numberOf('ramp', given.ramp, quick ? 0.2 : 0.5),
    lunMib: numberOf('lun-mib', given['lun-mib'], 256),
    socket,
    serverCpus: pinned ? serverCpus : null,
    targetCpus: pinned ? (given['target-cpus'] ?? serverCpus) : null,
    clientCpus: pinned ? (given['client-cpus'] ?? '1') : null,
    noisePercent: numberOf('noise', given.noise, 12),
    retries: numberOf('retries', given.retries, quick ? 2 : 5, 0),
    program: given.program ?? null,
    baseline: given.baseline === undefined ? null : resolve(given.baseline),
    serveArgs: given['serve-arg'] ?? [],
    targetArgs: given['target-arg'] ?? [],
    nodeArgs: given['node-arg'] ?? [],
    profile: given.profile ?? null,
    json: given.json ?? null,
    write: given.write,
    soakMinutes: given.soak === undefined ? null : numberOf('soak', given.soak, 10),
    micro: given.micro,
  };
}

function parseOrRefuse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        quick: FLAG,
        only: STRING,
        cases: STRING,
        list: FLAG,
        help: { ...FLAG, short: 'h' },
        rounds: STRING,
        seconds: STRING,
        ramp: STRING,
        'lun-mib': STRING,
        socket: STRING,
        'server-cpus': STRING,
        'target-cpus': STRING,
        'client-cpus': STRING,
        'no-pin': FLAG,
        noise: STRING,
        retries: STRING,
        program: STRING,
        baseline: STRING,
        'serve-arg': STRINGS,
        'target-arg': STRINGS,
        'node-arg': STRINGS,
        profile: STRING,
        json: STRING,
        write: FLAG,
        soak: STRING,
        micro: FLAG,
      },
    }).values;
  } catch (error) {
    throw new OptionError(error instanceof Error ? error.message : String(error));
  }
}

function listOf(text: string | undefined): readonly string[] | null {
  return text === undefined ? null : text.split(',').filter((part) => part !== '');
}

function numberOf(name: string, text: string | undefined, byDefault: number, least = 0.05): number {
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (Number.isFinite(value) && value >= least) return value;
  throw new OptionError(`--${name} ${text}: a number of at least ${least}`);
}
