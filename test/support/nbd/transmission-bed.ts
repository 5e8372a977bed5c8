import { SlabPool } from '../../../src/common/slab.js';
import type { Flushable } from '../../../src/socket/data-socket.js';
import type { BlockDeviceInfo } from '../../../src/block/device.js';
import type { SizeClass } from '../../../src/common/slab.js';
import { ExportCounters } from '../../../src/nbd/counters.js';
import type { NbdProtocolError } from '../../../src/nbd/errors.js';
import { NbdExport, termsOf } from '../../../src/nbd/export.js';
import type { Agreed } from '../../../src/nbd/export.js';
import { DEFAULT_LIMITS } from '../../../src/nbd/limits.js';
import type { NbdLimits } from '../../../src/nbd/limits.js';
import { Transmission } from '../../../src/nbd/transmission.js';
import type { TransmissionTrace } from '../../../src/nbd/reply-queue.js';
import { CounterSet } from '../../../src/observe/counters.js';
import { parseSimpleReply } from './client.js';
import type { SimpleReply } from './client.js';
import { RamDevice } from './device.js';

const KIB = 1024;
/** The bytes of a bed's disk, which says everywhere where you are. */
export const SIZE = 256 * KIB;

const PATTERN = Buffer.alloc(SIZE);
for (let at = 0; at < SIZE; at += 4) PATTERN.writeUInt32BE(at, at);

/** Slots of one size, `count` of them. */
export function slots(count: number, slotBytes = 64 * KIB): SizeClass[] {
  return [{ slotBytes, slotsMax: count, slotsPerSlab: count }];
}

export interface TransmissionBedOptions {
  readonly info?: Partial<BlockDeviceInfo>;
  readonly limits?: Partial<NbdLimits>;
  readonly classes?: readonly SizeClass[];
  readonly trace?: TransmissionTrace;
  readonly agreed?: Agreed;
}

/** A transmission with a held device and a sink that flushes when told. */
export class TransmissionBed {
  readonly device: RamDevice;
  readonly pool: SlabPool;
  readonly counters = new CounterSet();
  readonly transmission: Transmission;
  /** The metadata contexts that the client has selected. */
  readonly contexts: readonly number[];
  readonly sent: { bytes: Buffer; owner: Flushable }[] = [];
  pauses = 0;
  isPaused = false;
  violation: NbdProtocolError | null = null;
  idleCount = 0;
  /** All that was sent, as it was when it was flushed. */
  output = Buffer.alloc(0);

  constructor({
    info = {},
    limits = {},
    classes = slots(64),
    trace,
    agreed,
  }: TransmissionBedOptions = {}) {
    this.device = new RamDevice(SIZE, info);
    PATTERN.copy(this.device.bytes);
    this.device.holds = true;
    this.pool = new SlabPool(classes);
    this.contexts = agreed?.contexts ?? [];
    const item = new NbdExport({ name: 'x', device: this.device });
    this.transmission = new Transmission({
      device: this.device,
      terms: termsOf(item, this.pool.requestBytesMax, agreed),
      limits: { ...DEFAULT_LIMITS, ...limits },
      pool: this.pool,
      counters: new ExportCounters(this.counters, 'x'),
      trace: trace ?? null,
      sink: {
        send: (bytes, owner) => {
          this.sent.push({ bytes, owner });
        },
        pause: () => {
          this.pauses++;
          this.isPaused = true;
        },
        resume: () => (this.isPaused = false),
        mayBeGone: () => false,
        violated: (error) => (this.violation = error),
        idle: () => this.idleCount++,
      },
    });
  }

  /** Hands over bytes in a buffer that is overwritten afterwards, as a socket's is. */
  receive(...parts: Uint8Array[]): void {
    const bytes = Buffer.concat(parts);
    this.transmission.receive(bytes, 0, bytes.length);
    bytes.fill(0xdd);
  }

  /** Completes everything that is held, and flushes. */
  settle(): void {
    while (this.device.held.length > 0 || this.sent.length > 0) {
      this.device.completeAll();
      this.flush();
    }
  }

  flush(count = this.sent.length): void {
    for (const { bytes, owner } of this.sent.splice(0, count)) {
      this.output = Buffer.concat([this.output, bytes]);
      owner.flushed();
    }
  }

  /** The next reply of the output, and `dataBytes` behind it. */
  reply(dataBytes = 0): SimpleReply & { data: Buffer } {
    const head = parseSimpleReply(this.output);
    const data = this.output.subarray(16, 16 + dataBytes);
    this.output = this.output.subarray(16 + dataBytes);
    return { ...head, data };
  }

  counter(name: string, labels: Record<string, string> = {}): number {
    return this.counters.counter(name, '', { export: 'x', ...labels }).value;
  }
}
