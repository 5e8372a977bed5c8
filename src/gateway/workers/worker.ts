import { assert } from '../../common/assert.js';
import { systemClock } from '../../common/clock.js';
import type { SocketHandle } from '../../socket/data-socket.js';
import { readingsOf } from '../../observe/counter-sums.js';
import { CounterSet } from '../../observe/counters.js';
import { createLogger } from '../../observe/log.js';
import type { Logger } from '../../observe/log.js';
import { settleStreams } from '../../observe/standard-streams.js';
import { Gateway } from '../gateway.js';
import type { FromWorker, StartMessage, ToWorker } from './messages.js';
import { packError } from './start-failure.js';

/** Signals that a worker ignores: a terminal sends them to all its processes, and the primary decides what to do. */
const PRIMARYS_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'];

/** Runs this process as a worker. The worker ends when its primary is gone. */
export function runWorker(): void {
  for (const signal of PRIMARYS_SIGNALS) process.on(signal, () => undefined);
  const worker = new Worker();
  process.on('message', (message, handle) => {
    // Both ends have the same version of this program. Node's types do not have a handle without its Socket.
    worker.onMessage(message as ToWorker, handle as SocketHandle | undefined);
  });
  process.on('disconnect', () => worker.stop('the primary process is gone'));
  send({ type: 'up' });
}

class Worker {
  readonly #counters = new CounterSet();
  #log: Logger | null = null;
  #gateway: Gateway | null = null;
  #isStopping = false;

  onMessage(message: ToWorker, handle: SocketHandle | undefined): void {
    switch (message.type) {
      case 'start':
        void this.#start(message);
        break;
      case 'client':
        assert(handle !== undefined, 'a client came without its handle');
        this.#take(message, handle);
        break;
      case 'tls':
        this.#gateway?.renewTls(message.contents);
        break;
      case 'writesLost':
        this.#gateway?.loseWrites(message.exportName, message.reason);
        break;
      case 'announce':
        this.#gateway?.rangeNews?.announceAll();
        send({ type: 'announced', round: message.round });
        break;
      case 'busy':
        this.#gateway?.rangeNews?.hear(message);
        break;
      case 'over':
        this.#gateway?.rangeNews?.hearEnd(message);
        break;
      case 'count':
        send({ type: 'counted', readings: readingsOf(this.#counters) });
        break;
      case 'stop':
        this.stop(null);
    }
  }

  /** Drains, logs out and ends. A worker that does not serve yet ends at once. */
  stop(reason: string | null): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    if (this.#gateway === null || this.#log === null) process.exit(0);
    if (reason !== null) this.#log.warn({ reason }, 'stopping: requests in flight finish first');
    void this.#end(this.#gateway, this.#log);
  }

  async #end(gateway: Gateway, log: Logger): Promise<void> {
    await gateway.stop(log);
    // Messages that are queued are sent first: the process ends when it has nothing left to do.
    if (process.connected) process.disconnect();
    await settleStreams();
  }

  async #start(start: StartMessage): Promise<void> {
    const { worker, logLevel, config, tlsContents, lost, units } = start;
    const log = createLogger(logLevel, { worker });
    this.#log = log;
    try {
      const gateway = await Gateway.start(
        config,
        { log, clock: systemClock, counters: this.#counters },
        {
          tlsContents,
          units,
          busy: (news) => send({ type: 'busy', ...news }),
          over: (news) => send({ type: 'over', ...news }),
          onReleased: (conn) => send({ type: 'released', conn }),
          onWritesLost: (exportName, reason) => send({ type: 'writesLost', exportName, reason }),
          onDiskLost: (exportName, reason) => send({ type: 'diskLost', exportName, reason }),
        },
      );
      for (const { exportName, reason } of lost) gateway.loseWrites(exportName, reason);
      this.#gateway = gateway;
      send({ type: 'ready', units: gateway.units });
    } catch (error) {
      send({ type: 'failed', error: packError(error) }, () => process.exit(1));
    }
  }

  /**
   * Confirms the client first, and uses the connection only after that message is on its way. If this process ends
   * earlier, another worker gets the client with its connection untouched.
   */
  #take({ conn, address }: { conn: number; address: string | null }, handle: SocketHandle): void {
    send({ type: 'taken', conn }, (error) => {
      if (error !== null || this.#gateway === null) handle.close();
      else this.#gateway.serve({ socket: handle, address }, conn);
    });
  }
}

function send(message: FromWorker, sent: (error: Error | null) => void = () => undefined): void {
  if (process.connected) process.send?.(message, undefined, undefined, sent);
  else sent(new Error('the primary process is gone'));
}
