import type { SocketHandle } from '../../../src/socket/data-socket.js';
import type {
  Ending,
  FromWorker,
  SpawnWorker,
  ToWorker,
  WorkerLink,
  WorkerLinkHandler,
} from '../../../src/gateway/workers/messages.js';

/** A client's connection, as far as who closes it goes. */
export class HandleDouble implements SocketHandle {
  closeCount = 0;

  close(): void {
    this.closeCount++;
  }
}

/** A worker process that does what the test says, and nothing else. */
export class ScriptedWorker implements WorkerLink {
  readonly sent: ToWorker[] = [];
  readonly handles: (SocketHandle | undefined)[] = [];
  readonly number: number;
  readonly pid: number;
  killCount = 0;
  /** Does not say that it has announced what it is changing. */
  isSilent = false;
  readonly #handler: WorkerLinkHandler;

  constructor(number: number, pid: number, handler: WorkerLinkHandler) {
    this.number = number;
    this.pid = pid;
    this.#handler = handler;
  }

  send(message: ToWorker, handle?: SocketHandle): void {
    this.sent.push(message);
    if (handle !== undefined) this.handles.push(handle);
    if (message.type === 'announce' && !this.isSilent) {
      this.say({ type: 'announced', round: message.round });
    }
  }

  kill(): void {
    this.killCount++;
  }

  say(message: FromWorker): void {
    this.#handler.onMessage(message);
  }

  start(): void {
    this.say({ type: 'up' });
    this.say({ type: 'ready', units: {} });
  }

  end(ending: Partial<Ending> = { signal: 'SIGKILL' }): void {
    this.#handler.onEnded({ status: null, signal: null, ...ending });
  }

  /** Numbers of the clients that it was sent. */
  get clients(): number[] {
    return this.sent.flatMap((message) => (message.type === 'client' ? [message.conn] : []));
  }

  take(...conns: number[]): void {
    for (const conn of conns) this.say({ type: 'taken', conn });
  }
}

/** All processes that were started, in order. */
export class ScriptedWorkers {
  readonly all: ScriptedWorker[] = [];
  readonly spawn: SpawnWorker = (number, handler) => {
    const worker = new ScriptedWorker(number, 1000 + this.all.length, handler);
    this.all.push(worker);
    return worker;
  };

  /** The process that has the number now. */
  of(number: number): ScriptedWorker {
    const worker = this.all.findLast((candidate) => candidate.number === number);
    if (worker === undefined) throw new Error(`no worker ${number}`);
    return worker;
  }
}
