import type { BlockHistory } from './block-history.js';
import type { Random } from './random.js';
import type { StorageClient } from './storage-client.js';
import { StorageCommands } from './storage-commands.js';
import { turns } from '../support/waiting.js';

const LANES_MIN = 2;
const LANES_MAX = 25;
/** How many commands a connection carries at most. */
const COMMANDS_MAX = 100;
const COMMANDS_PER_ABORT = 30;
/** Of the event loop: how far what is under way may get before an abort, or before the end of the connection. */
const TURNS_MAX = 60;

/** What the sessions of a run share. */
export interface StorageRun {
  readonly history: BlockHistory;
  readonly isOver: boolean;
  /** Takes one command out of those that the run has. False when it is over. */
  take(): boolean;
  /** What goes wrong first ends the run. */
  fail(error: unknown): void;
  happened(what: string): void;
  /** Logs in as the initiator with this ISID, in place of the session that it has. */
  logIn(isid: number): Promise<StorageClient>;
  /** Resolves when the target has no session left. */
  noSessions(): Promise<void>;
}

/** A connection that carries no new commands, and those who wait for the commands that it had. */
interface Retired {
  readonly client: StorageClient;
  readonly lanes: Promise<unknown>;
}

/** An initiator that logs in over and over. Mostly it leaves commands behind, which must not take effect later. */
export class StorageSession {
  readonly #run: StorageRun;
  readonly #isid: number;
  readonly #random: Random;

  constructor(run: StorageRun, isid: number, random: Random) {
    this.#run = run;
    this.#isid = isid;
    this.#random = random;
  }

  /** Until the run is over. */
  async run(): Promise<void> {
    let retired: Retired | null = null;
    while (!this.#run.isOver) {
      const client = await this.#run.logIn(this.#isid);
      if (retired !== null) await leave(retired);
      retired = await this.#use(client);
    }
    if (retired === null) return;
    retired.client.vanish();
    await this.#run.noSessions();
    await leave(retired);
  }

  /** Sends commands in parallel lanes. The first that has no more to send ends the connection for all. */
  async #use(client: StorageClient): Promise<Retired> {
    const random = this.#random;
    const commandsMax = 1 + random.below(COMMANDS_MAX);
    const count = LANES_MIN + random.below(LANES_MAX - LANES_MIN + 1);
    const each = Array.from({ length: count }, () =>
      this.#lane(client, random.fork(), commandsMax),
    );
    const lanes = Promise.all(each);
    await Promise.race([...each, client.ended]);
    await turns(random.below(TURNS_MAX));
    const end = random.pick(['all answered', 'vanished', 'replaced'] as const);
    this.#run.happened(`connection ${end}`);
    if (end === 'all answered') await Promise.race([lanes, client.ended]);
    if (end === 'replaced') client.retire();
    else client.vanish();
    return { client, lanes };
  }

  async #lane(client: StorageClient, random: Random, commandsMax: number): Promise<void> {
    const run = this.#run;
    const commands = new StorageCommands({
      carrier: client,
      history: run.history,
      random,
      onEnded: (what) => run.happened(what),
    });
    while (client.isOpen && client.sentCount < commandsMax && run.take()) {
      const command = commands.next().catch((error: unknown) => run.fail(error));
      if (random.isOneIn(COMMANDS_PER_ABORT)) {
        await turns(random.below(TURNS_MAX));
        await client.abort(random);
      }
      await command;
    }
  }
}

/** To be called when the target has let go of the session. */
async function leave({ client, lanes }: Retired): Promise<void> {
  client.vanish();
  client.giveUp();
  await lanes;
}
