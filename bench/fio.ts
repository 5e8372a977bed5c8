/** Drives a server with fio's nbd engine. */
import { runToEnd } from './children.js';
import type { Case } from './cases.js';

export interface FioResult {
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly meanUs: number;
  /** Of a mixed load the worse of reads and writes. */
  readonly p99Us: number;
  /** The measured time, on the wall clock. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface FioPlan {
  readonly uri: string;
  readonly lunMib: number;
  readonly cpus: string | null;
}

/** @throws Error with what fio said. */
export async function runFio(
  load: Case,
  plan: FioPlan & { seconds: number; rampSeconds: number; onStart: (pid: number) => void },
): Promise<FioResult> {
  const { seconds, rampSeconds } = plan;
  const output = await fio(
    plan,
    [
      `--rw=${load.pattern}`,
      ...(load.pattern === 'randrw' ? ['--rwmixread=70'] : []),
      `--bs=${load.blockBytes}`,
      `--iodepth=${load.depth}`,
      `--numjobs=${load.connections}`,
      ...(load.thinkUs > 0 ? [`--thinktime=${load.thinkUs}us`] : []),
      '--time_based',
      `--runtime=${Math.round(seconds * 1000)}ms`,
      `--ramp_time=${Math.round(rampSeconds * 1000)}ms`,
      '--norandommap=1',
    ],
    { timeoutMs: (seconds + rampSeconds) * 1000 + 30_000, onStart: plan.onStart },
  );
  return parseFio(output);
}

/** Fills the LUN with data, so that no contestant answers for blocks that it never had to store. */
export async function fillLun(plan: FioPlan): Promise<void> {
  await fio(plan, ['--rw=write', '--bs=1m', '--iodepth=4'], CHECK);
}

/**
 * Writes and reads back with checksums: mixed sizes on one connection, all of it checked afterwards; then four
 * connections on regions of their own.
 * @throws Error when a byte is not what was written.
 */
export async function verifyLun(plan: FioPlan): Promise<void> {
  const checked = [
    '--verify=crc32c',
    '--verify_state_save=0',
    '--verify_fatal=1',
    '--do_verify=1',
    '--verify_backlog=64',
  ];
  await fio(
    plan,
    [...checked, '--rw=randwrite', '--bsrange=4k-256k', '--iodepth=32', '--io_size=96m'],
    CHECK,
  );
  const quarter = Math.floor(plan.lunMib / 4);
  await fio(
    { ...plan, lunMib: quarter },
    [
      ...checked,
      '--rw=randrw',
      '--bs=4k',
      '--iodepth=16',
      '--numjobs=4',
      `--offset_increment=${quarter}m`,
      '--io_size=8m',
    ],
    CHECK,
  );
}

interface FioProcess {
  readonly timeoutMs: number;
  readonly onStart?: (pid: number) => void;
}

const CHECK: FioProcess = { timeoutMs: 120_000 };

async function fio(plan: FioPlan, args: readonly string[], process: FioProcess): Promise<string> {
  const all = [
    '--name=bench',
    '--ioengine=nbd',
    `--uri=${plan.uri}`,
    `--size=${plan.lunMib}m`,
    // Threads, not processes, so that one pid has all of the client's CPU time.
    '--thread',
    '--group_reporting',
    '--output-format=json',
    ...args,
  ];
  const { status, stdout, stderr } = await runToEnd('fio', all, { cpus: plan.cpus, ...process });
  if (status === 0) return stdout;
  const said = `${stderr}${stdout.split('\n{')[0] ?? ''}`.trim().slice(0, 600);
  throw new Error(`fio ${args.join(' ')} ended with ${status ?? 'a signal'}: ${said}`);
}

interface FioDirection {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly total_ios: number;
  readonly runtime: number;
  readonly lat_ns: { readonly mean: number };
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

interface FioOutput {
  readonly timestamp_ms: number;
  readonly jobs: readonly {
    readonly error: number;
    readonly read: FioDirection;
    readonly write: FioDirection;
  }[];
}

/** @param text fio's JSON, after lines for people. */
export function parseFio(text: string): FioResult {
  const start = text.search(/^\{/m);
  const { jobs, timestamp_ms: toMs } = JSON.parse(text.slice(start)) as FioOutput;
  const job = jobs[0];
  if (job === undefined || job.error !== 0)
    throw new Error(`fio reports error ${job?.error ?? '?'}`);
  const directions = [job.read, job.write].filter(({ total_ios: ios }) => ios > 0);
  const total = directions.reduce((sum, { total_ios: ios }) => sum + ios, 0);
  if (total === 0) throw new Error('fio measured no request');
  const meanNs = directions.reduce((sum, { lat_ns, total_ios: ios }) => sum + lat_ns.mean * ios, 0);
  const p99Ns = directions.map(({ clat_ns }) => clat_ns.percentile?.['99.000000'] ?? 0);
  return {
    iops: directions.reduce((sum, { iops }) => sum + iops, 0),
    bytesPerSecond: directions.reduce((sum, { bw_bytes: rate }) => sum + rate, 0),
    meanUs: meanNs / total / 1000,
    p99Us: Math.max(...p99Ns) / 1000,
    fromMs: toMs - Math.max(...directions.map(({ runtime }) => runtime)),
    toMs,
  };
}
