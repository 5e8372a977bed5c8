import { LinkedQueue } from '../../common/linked-queue.js';
import { soon } from '../../common/later.js';
import type {
  CompletionQueue,
  QueuePair,
  ReceiveWorkRequest,
  SendWorkRequest,
} from '../../transport/verbs.js';

/**
 * A queue pair that collects work and posts it once per batch: the Sends of one completion batch, or of one turn of
 * store completions, need one doorbell. Receives are posted first, because the peer may answer a response at once and
 * needs a posted receive.
 */
export class Channel {
  readonly queuePair: QueuePair;
  readonly #sends = new LinkedQueue<SendWorkRequest>();
  readonly #receives = new LinkedQueue<ReceiveWorkRequest>();
  #isScheduled = false;
  #isClosed = false;
  readonly #scheduled = (): void => {
    this.#isScheduled = false;
    this.flush();
  };

  constructor(queuePair: QueuePair, completionQueue: CompletionQueue) {
    this.queuePair = queuePair;
    completionQueue.onBatchEnd = () => this.flush();
  }

  /** Adds a send to the batch. The channel uses its `next`. */
  send(request: SendWorkRequest): void {
    this.#sends.push(request);
    this.#schedule();
  }

  receive(request: ReceiveWorkRequest): void {
    this.#receives.push(request);
    this.#schedule();
  }

  flush(): void {
    if (this.#isClosed) return;
    const receive = this.#receives.takeAll();
    const send = this.#sends.takeAll();
    if (receive !== null) this.queuePair.postReceive(receive);
    if (send !== null) this.queuePair.postSend(send);
  }

  /**
   * Posts the collected work, so that it completes as flushed, and posts nothing later. The queue pair is in the
   * error state.
   */
  close(): void {
    this.flush();
    this.#isClosed = true;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(this.#scheduled);
  }
}
