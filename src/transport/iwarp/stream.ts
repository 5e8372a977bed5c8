import type { Edges } from '../../common/state-machine.js';
import { StateMachine } from '../../common/state-machine.js';
import type { Clock, Timer } from '../../common/clock.js';
import type { Logger } from '../../observe/log.js';
import { Fault, faultReason } from '../rnic/fault.js';
import type { SoftQueuePair } from '../rnic/queue-pair.js';
import type { WireDriver } from '../rnic/wire-driver.js';
import { WorkStatus } from '../verbs.js';
import { FpduReceiver } from './fpdu-receiver.js';
import type { ByteSink } from './fpdu-writer.js';
import { Inbound } from './inbound.js';
import type { InboundEvents } from './inbound.js';
import { STREAM_CLOSE_TIMEOUT_MS, NUDGE_FIRST_MS, NUDGES_MAX } from './limits.js';
import type { MpaAgreement } from './mpa.js';
import { Outbound } from './outbound.js';
import type { OutboundEvents } from './outbound.js';
import { Terminate, decodeTerminate, describeTerminate } from './terminate.js';
import type { TerminateCode, TerminatedSegment } from './terminate.js';
import { rdmapOpcodeName } from './wire.js';

/** How a stream gets its next turn to send. */
export interface Scheduler {
  /** In this turn of the event loop still, after what was written so far has been handed to the system. */
  afterFlush(action: () => void): void;
  /** In the next turn, after other sockets had theirs. */
  nextTurn(action: () => void): void;
}

export interface StreamOptions {
  readonly queuePair: SoftQueuePair;
  /** The length of the queue pair's send queue. */
  readonly sendRequestsMax: number;
  readonly agreement: MpaAgreement;
  /** A responder sends nothing before the initiator's first FPDU (RFC 5044 section 7.1.3). */
  readonly isResponder: boolean;
  readonly expectsSendRtr: boolean;
  readonly fpduBytes: number;
  readonly sink: ByteSink;
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * The stream has ended, once: nothing more will be written, and what was written is to leave before the socket
   * closes. `reason` is null for an orderly end.
   */
  readonly onOver: (reason: string | null) => void;
}

const EDGES: Edges<'open' | 'closing' | 'over'> = {
  open: ['closing', 'over'],
  closing: ['over'],
  over: [],
};

/**
 * An established iWARP stream: the wire under a queue pair. Bytes go in by {@link receive}, bytes come out at the
 * sink; it knows nothing of sockets.
 *
 *     open -- close() --> closing -- all sent and answered, or too late --> over
 *      +------ violation, Terminate, end of the peer, error of the queue pair ----^
 *
 * Whatever is wrong with what the peer sent ends the stream with the Terminate that the RFCs have for it.
 */
export class IwarpStream implements WireDriver, InboundEvents, OutboundEvents {
  readonly #options: StreamOptions;
  readonly #queuePair: SoftQueuePair;
  readonly #receiver: FpduReceiver;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  readonly #machine = new StateMachine('an iWARP stream', EDGES, 'open');
  /** The last {@link Outbound.produce} waits for bytes to leave. */
  #isFull = false;
  #pumpScheduled = false;
  #wantsPump = false;
  #closeTimer: Timer | null = null;
  /** An initiator that has heard nothing yet: see NUDGE_FIRST_MS. */
  #awaitsFirst: boolean;
  #nudgeTimer: Timer | null = null;
  readonly #scheduledPump = (): void => {
    this.#pumpScheduled = false;
    this.#pump();
  };

  constructor(options: StreamOptions) {
    const { queuePair, agreement } = options;
    this.#options = options;
    this.#queuePair = queuePair;
    this.#awaitsFirst = !options.isResponder;
    this.#inbound = new Inbound(queuePair, agreement.readDepthInbound, this);
    this.#inbound.expectsSendRtr = options.expectsSendRtr;
    this.#receiver = new FpduReceiver(this.#inbound);
    this.#receiver.usesCrc = agreement.crc;
    this.#outbound = new Outbound({
      queuePair,
      reads: this.#inbound,
      sink: options.sink,
      fpduBytes: options.fpduBytes,
      crc: agreement.crc,
      messagesMax: options.sendRequestsMax + agreement.readDepthInbound + 1,
      events: this,
    });
    this.#outbound.mayTransmit = !options.isResponder;
  }

  /** Connects the queue pair. False when its owner has put it into the error state meanwhile. */
  start(): boolean {
    const { readDepthInbound, readDepthOutbound } = this.#options.agreement;
    return this.#queuePair.activate(this, {
      initiator: readDepthOutbound,
      responder: readDepthInbound,
    });
  }

  /** Takes `bytes[start .. end)`; `bytes` is borrowed until the call returns. */
  receive(bytes: Buffer, start: number, end: number): void {
    if (this.#machine.state === 'over') return;
    if (this.#awaitsFirst) this.#stopNudging();
    this.#receiver.receive(bytes, start, end);
    const failure = this.#receiver.failure;
    if (failure !== null) this.#violation(failure);
    if (!this.#wantsPump) return;
    this.#wantsPump = false;
    this.#pump();
  }

  /** The peer has sent its last byte. */
  peerFinished(): void {
    this.#end(
      this.#receiver.isAtBoundary
        ? null
        : 'the peer closed the connection in the middle of an FPDU',
    );
  }

  /** The socket is gone. */
  lost(reason: string | null): void {
    this.#end(reason);
  }

  /** Orderly end: what is posted leaves, and the peer's reads are answered, before the stream is over. */
  close(): void {
    if (this.#machine.state !== 'open') return;
    this.#machine.enter('closing');
    this.#queuePair.beginClose();
    this.#closeTimer = this.#options.clock.after(STREAM_CLOSE_TIMEOUT_MS, () => this.#end(null));
    this.#pump();
  }

  /** Ends the stream at once, telling the peer that it is through no fault of its own. */
  abort(reason: string, code: TerminateCode): void {
    this.#end(reason, code);
  }

  // ---- what the queue pair calls ----

  onSendWork(): void {
    if (!this.#isFull && !this.#pumpScheduled) this.#pump();
    if (this.#awaitsFirst && this.#nudgeTimer === null)
      this.#nudgeAfter(NUDGE_FIRST_MS, NUDGES_MAX);
  }

  onQueuePairError(reason: string | null, fault: Fault): void {
    this.#end(reason, reason === null ? null : Terminate.localCatastrophic, null, fault);
  }

  // ---- what the two halves call ----

  onFirstSegment(): void {
    this.#outbound.mayTransmit = true;
    this.#wantsPump = true;
  }

  onReadRequest(): void {
    this.#wantsPump = true;
  }

  onReadResponse(): void {
    if (this.#machine.state === 'closing') this.#wantsPump = true;
  }

  onTerminate(bytes: Buffer, length: number): void {
    if (this.#machine.state === 'over') return;
    const readings = decodeTerminate(bytes, 0, length);
    const reason = `the peer sent Terminate: ${describeTerminate(readings)}`;
    this.#options.log.warn({ terminate: bytes.toString('hex', 0, length) }, reason);
    // What the peer does not let us read fails with that; everything else only never happened.
    const read = this.#queuePair.oldestRead;
    const isProtection = readings.some(
      (reading) => reading.known?.layer === 0 && reading.type === 1,
    );
    this.#machine.enter('over');
    if (read !== null && isProtection) {
      this.#queuePair.failSend(read, WorkStatus.remoteAccessError, Fault.access);
    }
    this.#finish(reason, null, null, Fault.none);
  }

  onLeft(): void {
    if (this.#isFull) {
      this.#isFull = false;
      this.#schedule('nextTurn');
    } else if (this.#machine.state === 'closing') {
      this.#finishClose();
    }
  }

  onReadRevoked(): void {
    const reason = `an RDMA Read of the peer could not be completed: ${faultReason(Fault.invalidStag)}`;
    this.#end(reason, Terminate.invalidStag, null, Fault.invalidStag);
  }

  // ---- inside ----

  #nudgeAfter(delayMs: number, left: number): void {
    this.#nudgeTimer = this.#options.clock.after(delayMs, () => {
      // Armed before anything is sent, so that whatever ends the stream meanwhile finds the timer.
      if (left > 1) this.#nudgeAfter(delayMs * 2, left - 1);
      this.#outbound.nudge();
    });
  }

  #stopNudging(): void {
    this.#awaitsFirst = false;
    this.#nudgeTimer?.cancel();
  }

  #pump(): void {
    if (this.#machine.state === 'over') return;
    const production = this.#outbound.produce();
    switch (production) {
      case 'idle':
        if (this.#machine.state === 'closing') this.#finishClose();
        break;
      case 'full':
        this.#isFull = true;
        break;
      case 'more':
        this.#schedule('nextTurn');
        break;
      case 'newWrite':
        this.#schedule('afterFlush');
        break;
    }
  }

  #schedule(when: keyof Scheduler): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    this.#options.scheduler[when](this.#scheduledPump);
  }

  #finishClose(): void {
    const isDone = this.#queuePair.isSendIdle && this.#outbound.isIdle;
    // A responder that never heard from its initiator has nothing that it may send.
    if (isDone || !this.#outbound.mayTransmit) this.#end(null);
  }

  #violation(code: TerminateCode): void {
    const receiver = this.#receiver;
    const detail = this.#inbound.faultReason;
    const reason = `protocol violation by the peer: ${code.meaning}${detail === null ? '' : ` (${detail})`}`;
    const opcode = rdmapOpcodeName((receiver.headerBytes[3] ?? 0) & 0x0f);
    if (this.#machine.state !== 'over') this.#options.log.warn({ opcode }, reason);
    // An error of MPA's own is about the bytes, which then are no segment to be quoted.
    const segment: TerminatedSegment | null =
      code.layer === Terminate.llpCrc.layer
        ? null
        : {
            header: receiver.headerBytes,
            headerBytes: receiver.headerLength,
            readRequest: this.#inbound.refusedReadRequest(receiver.headerBytes),
          };
    this.#end(reason, code, segment, this.#inbound.fault);
  }

  #end(
    reason: string | null,
    code: TerminateCode | null = null,
    segment: TerminatedSegment | null = null,
    fault: Fault = Fault.none,
  ): void {
    if (this.#machine.state === 'over') return;
    this.#machine.enter('over');
    this.#finish(reason, code, segment, fault);
  }

  #finish(
    reason: string | null,
    code: TerminateCode | null,
    segment: TerminatedSegment | null,
    fault: Fault,
  ): void {
    this.#closeTimer?.cancel();
    this.#stopNudging();
    this.#receiver.stop();
    // The queue pair first: what is given back after this is flushed, and never taken for done.
    this.#queuePair.fail(fault);
    this.#outbound.stop();
    if (code !== null) this.#outbound.terminate(code, segment);
    this.#options.onOver(reason);
  }
}
