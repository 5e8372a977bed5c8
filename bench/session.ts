/** Brings the contestants up on one kind of socket, and runs the cases on them in turn. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { titleOf } from './cases.js';
import type { Case } from './cases.js';
import { stopAllChildren } from './children.js';
import { PEERS } from './contestants.js';
import type { Bed, Contestant, Running } from './contestants.js';
import { fillLun, verifyLun } from './fio.js';
import type { BenchOptions, SocketKind } from './options.js';
import { printCase } from './print.js';
import { runCell } from './run-cell.js';
import type { Measurement } from './run-cell.js';
import { choose, isQuiet, summarize } from './summary.js';
import type { CaseResult, Round } from './summary.js';

/** At queue depth 1 a second has too few requests for a just-in-time compiler to be done. */
const WARM_UP_DEPTH = 32;
const WARM_UP_DEPTH_BELOW_BYTES = 64 * 1024;

export interface SessionResult {
  readonly socket: SocketKind;
  /** By contestant of ours: null when all that fio --verify read back was right. */
  readonly verified: Readonly<Record<string, string | null>>;
  readonly cases: readonly CaseResult[];
}

export interface SessionPlan {
  readonly options: BenchOptions;
  readonly program: string;
  readonly socket: SocketKind;
  readonly contestants: readonly Contestant[];
  readonly cases: readonly Case[];
  /** When to stop running noisy rounds again; wall clock. */
  readonly retryUntilMs: number;
}

export async function runSession(plan: SessionPlan): Promise<SessionResult> {
  const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-bench-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  // For a run that is interrupted.
  process.once('exit', remove);
  const session = new Session(plan, folder);
  try {
    await session.startAll();
    const verified = await session.verify();
    const cases: CaseResult[] = [];
    for (const load of plan.cases) {
      const result = await session.runCase(load);
      printCase(result);
      cases.push(result);
    }
    return { socket: plan.socket, verified, cases };
  } finally {
    await stopAllChildren();
    process.off('exit', remove);
    remove();
  }
}

class Session {
  readonly #plan: SessionPlan;
  readonly #bed: Bed;
  readonly #running = new Map<string, Running>();

  constructor(plan: SessionPlan, folder: string) {
    this.#plan = plan;
    const { options, socket, program } = plan;
    this.#bed = { options, socket, folder, program };
  }

  async startAll(): Promise<void> {
    for (const contestant of this.#plan.contestants) await this.#start(contestant);
  }

  /** Data is checked before speed is measured; what fails here is reported, and makes the run fail. */
  async verify(): Promise<Record<string, string | null>> {
    const verified: Record<string, string | null> = {};
    for (const contestant of this.#plan.contestants) {
      if (!contestant.isOurs) continue;
      verified[contestant.name] = await this.#attempt(contestant, async ({ uri }) => {
        await verifyLun({ uri, ...this.#client });
        return null;
      });
      const outcome = verified[contestant.name] ?? 'data read back is what was written';
      console.log(`verify ${contestant.name} (${this.#plan.socket}): ${outcome}`);
    }
    return verified;
  }

  async runCase(load: Case): Promise<CaseResult> {
    const { options, contestants, retryUntilMs } = this.#plan;
    const failures: Record<string, string> = {};
    await this.#warmUp(load, failures);
    const rounds: Round[] = [];
    const quiet = () => rounds.filter((round) => isQuiet(round, options.noisePercent)).length;
    const roundsMax = options.rounds + options.retries;
    while (
      rounds.length < options.rounds ||
      (quiet() < options.rounds && rounds.length < roundsMax)
    ) {
      if (rounds.length >= options.rounds && Date.now() > retryUntilMs) break;
      rounds.push(await this.#runRound(load, failures));
    }
    const chosen = choose(rounds, options.rounds, options.noisePercent);
    const names = contestants.map(({ name }) => name);
    const rows = summarize(chosen.rounds, names, PEERS, chosen.isNoisy);
    return { load, rows, failures };
  }

  /** A round that does not count, with enough requests for everybody's caches, compilers and pools to settle. */
  async #warmUp(load: Case, failures: Record<string, string>): Promise<void> {
    const isSmall = load.blockBytes < WARM_UP_DEPTH_BELOW_BYTES;
    const depth = isSmall ? Math.max(load.depth, WARM_UP_DEPTH) : load.depth;
    await this.#runRound({ ...load, depth, thinkUs: 0 }, failures);
  }

  async #runRound(load: Case, failures: Record<string, string>): Promise<Round> {
    const measurements: Record<string, Measurement> = {};
    for (const contestant of this.#plan.contestants) {
      // What has failed once under this load is not asked again.
      if (failures[contestant.name] !== undefined) continue;
      const outcome = await this.#attempt(contestant, (running) =>
        runCell(load, running, this.#bed),
      );
      if (typeof outcome === 'string') {
        failures[contestant.name] = outcome;
        console.log(`FAILED ${titleOf(load)} ${contestant.name}: ${outcome}`);
      } else {
        measurements[contestant.name] = outcome;
      }
    }
    return { measurements };
  }

  /** @returns what `work` returns; or why it failed, after a fresh start of the contestant. */
  async #attempt<T>(
    contestant: Contestant,
    work: (running: Running) => Promise<T>,
  ): Promise<T | string> {
    const running = this.#running.get(contestant.name);
    if (running === undefined) throw new Error(`${contestant.name} is not running`);
    try {
      return await work(running);
    } catch (error) {
      const said = running.children.map(({ role, output }) => `${role}: ${output.slice(-500)}`);
      const ended = running.children.filter(({ hasEnded }) => hasEnded).map(({ role }) => role);
      const message = error instanceof Error ? error.message : String(error);
      await running.stop();
      await this.#start(contestant);
      const gone = ended.length === 0 ? '' : ` (${ended.join(' and ')} had ended)`;
      return `${message}${gone}; ${said.join('; ')}`;
    }
  }

  async #start(contestant: Contestant): Promise<void> {
    const running = await contestant.start(this.#bed);
    this.#running.set(contestant.name, running);
    await fillLun({ uri: running.uri, ...this.#client });
  }

  get #client() {
    const { lunMib, clientCpus } = this.#plan.options;
    return { lunMib, cpus: clientCpus };
  }
}
