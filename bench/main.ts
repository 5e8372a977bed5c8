import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CORE_CASES, selectCases, titleOf } from './cases.js';
import { killAllChildren, stopAllChildren } from './children.js';
import { CONTESTANTS, selectContestants } from './contestants.js';
import type { Contestant } from './contestants.js';
import { judge } from './criteria.js';
import { describeEnvironment } from './environment.js';
import { runMicrobenchmarks } from './micro/run.js';
import { printProfiles } from './profile.js';
import { HELP, OptionError, parseOptions } from './options.js';
import type { BenchOptions, SocketKind } from './options.js';
import { printCriteria } from './print.js';
import { writeReport } from './report.js';
import type { BenchResults } from './report.js';
import { runSession } from './session.js';
import type { SessionResult } from './session.js';
import { runSoak } from './soak.js';
import { fioHasNbd, provideTools } from './tools.js';

/** `--quick` promises to end within three minutes; noisy rounds are repeated up to here. */
const QUICK_RETRY_MS = 110_000;
const RETRY_MS = 4 * 3600_000;

// The launcher starts this in the checkout's root.
const root = process.cwd();

process.once('exit', killAllChildren);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    console.log(`\n${signal}: ending the servers`);
    void stopAllChildren().then(() => process.exit(130));
  });
}

try {
  process.exitCode = await main(parseOptions(process.argv.slice(2)));
} catch (error) {
  await stopAllChildren();
  const isUsers = error instanceof OptionError;
  console.error(isUsers ? `bench: ${error.message} (--help)` : error);
  process.exitCode = isUsers ? 2 : 1;
}

/** @returns the exit status: 0 when all ran and all data was right, whatever the speed. */
async function main(options: BenchOptions): Promise<number> {
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  const contestants = selectContestants(options);
  const cases = selectCases(options);
  if (options.list) {
    for (const { name, title } of CONTESTANTS) console.log(`${name.padEnd(24)} ${title}`);
    for (const load of cases) console.log(`${load.name.padEnd(24)} ${titleOf(load)}`);
    return 0;
  }
  const program = resolve(options.program ?? join(root, 'dist', 'cli', 'main.js'));
  if (options.micro) return runMicrobenchmarks(options, program);
  if (cases.length === 0) throw new OptionError('--cases matches no case; --list shows them');
  requireTools(options, contestants);
  if (options.soakMinutes !== null) return runSoak(options, program, contestants);
  const startedMs = Date.now();
  const sessions: SessionResult[] = [];
  for (const [socket, selected] of sessionsOf(options, cases)) {
    const retryUntilMs = startedMs + (options.quick ? QUICK_RETRY_MS : RETRY_MS);
    const plan = { options, program, socket, contestants, cases: selected, retryUntilMs };
    sessions.push(await runSession(plan));
  }
  const minutes = (Date.now() - startedMs) / 60_000;
  if (options.profile !== null) printProfiles(options.profile);
  return conclude(options, contestants, sessions, minutes);
}

/** A full run ends with the core table once more over TCP. */
function sessionsOf(
  options: BenchOptions,
  cases: ReturnType<typeof selectCases>,
): [SocketKind, ReturnType<typeof selectCases>][] {
  if (options.socket !== null) return [[options.socket, cases]];
  const isFull = !options.quick && options.cases === null;
  return isFull
    ? [
        ['unix', cases],
        ['tcp', CORE_CASES],
      ]
    : [['unix', cases]];
}

function conclude(
  options: BenchOptions,
  contestants: readonly Contestant[],
  sessions: readonly SessionResult[],
  minutes: number,
): number {
  const names = contestants.map(({ name }) => name);
  const criteria = judge(sessions[0]?.cases ?? [], options.lunMib);
  const results: BenchResults = {
    environment: describeEnvironment(options, names),
    options,
    minutes,
    contestants: contestants.map(({ name, title, isOurs }) => ({ name, title, isOurs })),
    sessions,
    criteria,
  };
  printCriteria(criteria);
  const cases = sessions.flatMap((session) => session.cases);
  const noisy = cases.filter(({ rows }) => rows.some((row) => row.isNoisy)).length;
  if (options.rounds < 5) console.log(`\nmedians of ${options.rounds} rounds only: a first look`);
  if (noisy > 0) {
    console.log(
      `\nNOT TO BE TRUSTED: in ${noisy} of ${cases.length} cases other processes or the hypervisor used more than ` +
        `${options.noisePercent} % of a core, after repetitions`,
    );
  }
  if (options.json !== null) {
    mkdirSync(dirname(resolve(options.json)), { recursive: true });
    writeFileSync(options.json, `${JSON.stringify(results, null, 1)}\n`);
  }
  const isFull = !options.quick && options.cases === null && options.only === null;
  if (isFull || options.write) {
    const written = writeReport(results, root);
    // The report stands in the repository, whose formatter has the last word.
    spawnSync('node_modules/.bin/prettier', ['--write', '--log-level', 'warn', ...written], {
      cwd: root,
    });
    console.log(`\nwrote ${written.join(' ')}`);
  }
  console.log(`\n${minutes.toFixed(1)} minutes`);
  const failed = cases.some(({ failures }) => Object.keys(failures).length > 0);
  const wrong = sessions.some(({ verified }) =>
    Object.values(verified).some((why) => why !== null),
  );
  return failed || wrong ? 1 : 0;
}

function requireTools(options: BenchOptions, contestants: readonly Contestant[]): void {
  if (process.platform !== 'linux') throw new OptionError('the benchmark reads /proc: Linux only');
  const missing = provideTools(contestants.map(({ name }) => name));
  if (missing.length > 0) {
    throw new OptionError(
      `not installed: ${missing.join(' ')}; run it as root on Debian, or install them, or leave their contestants out with --only`,
    );
  }
  if (!fioHasNbd())
    throw new OptionError('this fio has no nbd engine (it was built without libnbd)');
  const needsRoot = contestants.some(({ name }) => name === 'qemu-tgt');
  if (needsRoot && process.getuid?.() !== 0) {
    throw new OptionError('tgtd needs root; without it leave it out: --only nbdkit,embedded,iwarp');
  }
  if (options.profile !== null) mkdirSync(options.profile, { recursive: true });
}
