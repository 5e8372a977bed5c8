import type { DatamoverConnection, DatamoverTask } from '../../../src/iscsi/datamover.js';
import { TestUpperLayer } from '../iser/upper-layer.js';

/** An upper layer that sees when it is called inside of its own calls, and in which order. */
export class WatchedUpperLayer extends TestUpperLayer {
  /** Upward calls that came inside of downward ones. */
  readonly calledInside: string[] = [];
  /** Upward calls as they came. */
  readonly calls: string[] = [];
  readonly #watched: WatchedConnection;

  constructor(connection: DatamoverConnection) {
    const watched = new WatchedConnection(connection);
    super(watched);
    this.#watched = watched;
  }

  override controlNotify(view: DataView, bhs: number, data: number, length: number): void {
    this.#note('controlNotify');
    super.controlNotify(view, bhs, data, length);
  }

  override taskByTag(tag: number): DatamoverTask | null {
    this.#note('taskByTag');
    return super.taskByTag(tag);
  }

  override terminateNotify(error: Error | null): void {
    this.#note('terminateNotify');
    super.terminateNotify(error);
  }

  #note(call: string): void {
    this.calls.push(call);
    if (this.#watched.inside !== null) this.calledInside.push(`${call} in ${this.#watched.inside}`);
  }
}

class WatchedConnection implements DatamoverConnection {
  inside: string | null = null;
  readonly #connection: DatamoverConnection;

  constructor(connection: DatamoverConnection) {
    this.#connection = connection;
  }

  get limits(): DatamoverConnection['limits'] {
    return this.#connection.limits;
  }

  get peerName(): string {
    return this.#connection.peerName;
  }

  get handler(): DatamoverConnection['handler'] {
    return this.#connection.handler;
  }

  set handler(handler: DatamoverConnection['handler']) {
    this.#in('handler', () => (this.#connection.handler = handler));
  }

  sendControl(bhs: Uint8Array, data: Uint8Array): void {
    this.#in('sendControl', () => this.#connection.sendControl(bhs, data));
  }

  allocateTasks(count: number): readonly DatamoverTask[] {
    return this.#in('allocateTasks', () => this.#connection.allocateTasks(count));
  }

  enterFullFeature(): void {
    this.#in('enterFullFeature', () => this.#connection.enterFullFeature());
  }

  sendCommand(task: DatamoverTask): void {
    this.#in('sendCommand', () => this.#connection.sendCommand(task));
  }

  finishTask(task: DatamoverTask): void {
    this.#in('finishTask', () => this.#connection.finishTask(task));
  }

  terminate(): Promise<void> {
    return this.#in('terminate', () => this.#connection.terminate());
  }

  #in<T>(call: string, action: () => T): T {
    const outer = this.inside;
    this.inside = call;
    try {
      return action();
    } finally {
      this.inside = outer;
    }
  }
}
