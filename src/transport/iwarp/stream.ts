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

/** Schedules a stream's next turn to send. */
export interface Scheduler {
  /** Runs `action` in the same turn of the event loop, after the written bytes have been passed to the system. */
  afterFlush(action: () => void): void;
  /** Runs `action` in the next turn, after the other sockets have had their turn. */
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
   * Called once, when the stream has ended. The stream writes nothing more, and the written bytes should leave before
   * the socket closes. `reason` is null for an orderly end.
   */
  readonly onOver: (reason: string | null) => void;
}

const EDGES: Edges<'open' | 'closing' | 'over'> = {
  open: ['closing', 'over'],
  closing: ['over'],
  over: [],
};

/**
 * An established iWARP stream: the wire driver of a queue pair. {@link receive} takes bytes, the sink receives bytes.
 * The stream knows nothing of sockets.
 *
 *     open -- close() --> closing -- all sent and answered, or too late --> over
 *      +------ violation, Terminate, end of the peer, error of the queue pair ----^
 *
 * Every protocol violation of the peer ends the stream with the Terminate code of the RFCs.
 */
export class IwarpStream implements WireDriver, InboundEvents, OutboundEvents {
  readonly #options: StreamOptions;
  readonly #queuePair: SoftQueuePair;
  readonly #receiver: FpduReceiver;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  readonly #machine = new StateMachine('an iWARP stream', EDGES, 'open');
  /** The last {@link Outbound.produce} returned `full`. */
  #isFull = false;
  #pumpScheduled = false;
  #wantsPump = false;
  #closeTimer: Timer | null = null;
  /** True for an initiator that has received nothing yet; see NUDGE_FIRST_MS. */
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

  /** Connects the queue pair. False when its owner has already put it into the error state. */
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

  /** The socket has closed. */
  lost(reason: string | null): void {
    this.#end(reason);
  }

  /** Starts the orderly end: before the stream ends, posted work leaves and the peer's reads are answered. */
  close(): void {
    if (this.#machine.state !== 'open') return;
    this.#machine.enter('closing');
    this.#queuePair.beginClose();
    this.#closeTimer = this.#options.clock.after(STREAM_CLOSE_TIMEOUT_MS, () => this.#end(null));
    this.#pump();
  }

  /** Ends the stream at once, with `code` in a Terminate to the peer. */
  abort(reason: string, code: TerminateCode): void {
    this.#end(reason, code);
  }

  // ---- calls from the queue pair ----

  onSendWork(): void {
    if (!this.#isFull && !this.#pumpScheduled) this.#pump();
    if (this.#awaitsFirst && this.#nudgeTimer === null)
      this.#nudgeAfter(NUDGE_FIRST_MS, NUDGES_MAX);
  }

  onQueuePairError(reason: string | null, fault: Fault): void {
    this.#end(reason, reason === null ? null : Terminate.localCatastrophic, null, fault);
  }

  // ---- calls from the sending and the receiving half ----

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
    // A read that the peer refuses fails with the peer's reason. Every other request is flushed.
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
      // The timer is armed before the nudge is sent, so that an end of the stream during the send cancels it.
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
    // A responder may send nothing before the initiator's first FPDU.
    if (isDone || !this.#outbound.mayTransmit) this.#end(null);
  }

  #violation(code: TerminateCode): void {
    const receiver = this.#receiver;
    const detail = this.#inbound.faultReason;
    const reason = `protocol violation by the peer: ${code.meaning}${detail === null ? '' : ` (${detail})`}`;
    const opcode = rdmapOpcodeName((receiver.headerBytes[3] ?? 0) & 0x0f);
    if (this.#machine.state !== 'over') this.#options.log.warn({ opcode }, reason);
    // An MPA error means that the bytes are not a valid segment, so the Terminate quotes none.
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
    // The queue pair fails first, so that every request that is returned later is flushed and never counts as done.
    this.#queuePair.fail(fault);
    this.#outbound.stop();
    if (code !== null) this.#outbound.terminate(code, segment);
    this.#options.onOver(reason);
  }
}
