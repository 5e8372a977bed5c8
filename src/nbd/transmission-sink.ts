import type { Flushable } from '../socket/data-socket.js';
import type { NbdProtocolError } from './errors.js';

/** What a {@link Transmission} does to the connection that it is part of. */
export interface TransmissionSink {
  /** Queues bytes. `owner` is told later that they have left. */
  send(bytes: Buffer, owner: Flushable): void;
  /** `pause` stops reading, which holds the client back; `resume` goes on. */
  pause(): void;
  resume(): void;
  /**
   * Whether the client, which was held back until now, can have gone away meanwhile. If so, the sink finds out, and then
   * calls `goOn` or `abort`.
   */
  mayBeGone(): boolean;
  /** The client broke a rule. Requests in flight are still answered; then {@link idle} follows. */
  violated(error: NbdProtocolError): void;
  /** The transmission has ended: no request is in flight, and no more will come. Called once. */
  idle(): void;
}
