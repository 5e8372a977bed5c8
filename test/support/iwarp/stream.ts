import { ManualClock } from '../common/manual-clock.js';
import type { Flushable } from '../../../src/socket/data-socket.js';
import { Slab } from '../../../src/common/slab.js';
import { silentLogger } from '../../../src/observe/log.js';
import type { Logger } from '../../../src/observe/log.js';
import type { MpaAgreement } from '../../../src/transport/iwarp/mpa.js';
import { IwarpStream } from '../../../src/transport/iwarp/stream.js';
import { SoftDevice } from '../../../src/transport/rnic/device.js';
import type { SoftQueuePair } from '../../../src/transport/rnic/queue-pair.js';
import type {
  CompletionQueue,
  FastRegion,
  MemoryRegion,
  ProtectionDomain,
} from '../../../src/transport/verbs.js';
import { Access } from '../../../src/transport/verbs.js';
import { readFrames } from './frames.js';
import type { ReadFrame } from './frames.js';
import { ReceiveWork, chain } from '../transport/work.js';
import type { SendWork } from '../transport/work.js';
import { turn } from '../waiting.js';

export const ALL_ACCESS = Access.localWrite | Access.remoteWrite | Access.remoteRead;

/** A socket that takes bytes only when the test says so, and looks at them only then, as a full one would. */
export class FakeSink {
  #queue: { bytes: Uint8Array; owner: Flushable | null }[] = [];
  #left: Buffer[] = [];

  write(bytes: Uint8Array, owner: Flushable | null): void {
    this.#queue.push({ bytes, owner });
  }

  get queuedBytes(): number {
    return this.#queue.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  get writeCount(): number {
    return this.#queue.length;
  }

  /** Lets everything that is queued leave. */
  leave(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { bytes } of queue) this.#left.push(Buffer.from(bytes));
    for (const { owner } of queue) owner?.flushed();
  }

  /** What has left since the last call. */
  take(): Buffer {
    const bytes = Buffer.concat(this.#left);
    this.#left = [];
    return bytes;
  }
}

export interface HarnessOptions {
  readonly crc?: boolean;
  readonly readDepthInbound?: number;
  readonly readDepthOutbound?: number;
  readonly isResponder?: boolean;
  readonly expectsSendRtr?: boolean;
  readonly fpduBytes?: number;
  readonly sendRequestsMax?: number;
  readonly log?: Logger;
}

/** One iWARP stream on a soft RNIC, with a sink, a clock and turns of the event loop that the test owns. */
export class StreamHarness {
  readonly device = new SoftDevice('test');
  readonly domain: ProtectionDomain = this.device.allocateProtectionDomain();
  readonly completionQueue: CompletionQueue = this.device.createCompletionQueue({
    depth: 4096,
    vector: 0,
  });
  readonly queuePair: SoftQueuePair;
  readonly sink = new FakeSink();
  readonly clock = new ManualClock();
  readonly stream: IwarpStream;
  /** The reasons that the stream was over for; at most one. */
  readonly over: (string | null)[] = [];
  #turns: (() => void)[] = [];

  constructor(options: HarnessOptions = {}) {
    const sendRequestsMax = options.sendRequestsMax ?? 256;
    this.queuePair = this.device.createQueuePair({
      protectionDomain: this.domain,
      completionQueue: this.completionQueue,
      sendRequestsMax,
      receiveRequestsMax: 256,
    });
    const agreement: MpaAgreement = {
      crc: options.crc ?? false,
      readDepthInbound: options.readDepthInbound ?? 4,
      readDepthOutbound: options.readDepthOutbound ?? 4,
      peer: { privateData: Buffer.alloc(0), responderResources: 4, initiatorDepth: 4 },
    };
    const nextTurn = (action: () => void): void => void this.#turns.push(action);
    this.stream = new IwarpStream({
      queuePair: this.queuePair,
      sendRequestsMax,
      agreement,
      isResponder: options.isResponder ?? false,
      expectsSendRtr: options.expectsSendRtr ?? false,
      fpduBytes: options.fpduBytes ?? 32_768,
      sink: this.sink,
      scheduler: { nextTurn, afterFlush: nextTurn },
      clock: this.clock,
      log: options.log ?? silentLogger,
      onOver: (reason) => this.over.push(reason),
    });
    this.stream.start();
  }

  /** Gives the stream `bytes`, in pieces that end at `cuts`, through one buffer that is reused, as a socket does. */
  receive(bytes: Buffer, cuts: readonly number[] = []): void {
    const buffer = Buffer.alloc(Math.max(1, bytes.length));
    let at = 0;
    for (const cut of [...cuts.filter((one) => one < bytes.length), bytes.length]) {
      if (cut <= at) continue;
      bytes.copy(buffer, 0, at, cut);
      this.stream.receive(buffer, 0, cut - at);
      buffer.fill(0xee);
      at = cut;
    }
  }

  /** Lets handlers, doorbells and turns run until nothing is left to do. */
  async settle(): Promise<void> {
    for (;;) {
      await Promise.resolve();
      await turn();
      this.sink.leave();
      if (this.#turns.length === 0 && this.sink.queuedBytes === 0) return;
      this.runTurns();
    }
  }

  /** Begins the turns that the stream has asked for. */
  runTurns(): void {
    const turns = this.#turns;
    this.#turns = [];
    for (const action of turns) action();
  }

  /** Lets handlers and doorbells run, but nothing leave and no turn begin. */
  async ring(): Promise<void> {
    await turn();
  }

  /** The FPDUs that have left since the last call. */
  frames(): ReadFrame[] {
    const { frames, rest } = readFrames(this.sink.take());
    if (rest.length > 0) throw new Error(`${rest.length} bytes left behind the last FPDU`);
    return frames;
  }

  register(lengthBytes: number, access = ALL_ACCESS): { slab: Slab; region: MemoryRegion } {
    const slab = new Slab(lengthBytes);
    return {
      slab,
      region: this.domain.registerMemory({ slab, offset: 0, length: lengthBytes }, access),
    };
  }

  allocateFastRegion(bytesMax: number): FastRegion {
    return this.domain.allocateFastRegion(bytesMax);
  }

  postReceive(lengthBytes: number): { slab: Slab; work: ReceiveWork } {
    const { slab, region } = this.register(lengthBytes);
    const work = new ReceiveWork();
    work.request.sge.set(region, 0, lengthBytes);
    this.queuePair.postReceive(work.request);
    return { slab, work };
  }

  post(...works: SendWork[]): void {
    this.queuePair.postSend(chain(works));
  }

  /** The Terminate that the stream sent: its control field in hex; null when there was none. */
  terminate(): string | null {
    const last = this.frames().at(-1);
    return last?.control === '4147' ? last.payload.toString('hex', 0, 4) : null;
  }
}

/** A region's address, `delta` bytes in. */
export function addressOf(region: MemoryRegion, delta = 0): bigint {
  return ((BigInt(region.addressHigh) << 32n) | BigInt(region.addressLow)) + BigInt(delta);
}
