import { LinkedQueue } from '../../common/linked-queue.js';
import { soon } from '../../common/later.js';
import type {
  CompletionQueue,
  QueuePair,
  ReceiveWorkRequest,
  SendWorkRequest,
} from '../../transport/verbs.js';

/**
 * A queue pair whose work is gathered and posted once per batch: what the handlers of one completion batch, or one
 * turn of store completions, want to send leaves with one doorbell. Receives go first: the peer may answer a response
 * at once, and must find a buffer.
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

  /** Posts a send with the batch. Its `next` is the channel's. */
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

  /** Posts what is gathered, so that it completes, and nothing after it. The queue pair is in the error state. */
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
