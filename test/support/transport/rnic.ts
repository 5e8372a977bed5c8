import { Slab } from '../../../src/common/slab.js';
import type {
  CompletionQueue,
  MemoryRegion,
  ProtectionDomain,
} from '../../../src/transport/verbs.js';
import { SoftDevice } from '../../../src/transport/rnic/device.js';
import type { Fault } from '../../../src/transport/rnic/fault.js';
import type { SoftQueuePair } from '../../../src/transport/rnic/queue-pair.js';
import type { ReadDepths, WireDriver } from '../../../src/transport/rnic/wire-driver.js';
import type { SendSlot } from '../../../src/transport/rnic/send-queue.js';
import { ALL_ACCESS } from './pair.js';
import type { TestBuffer } from './pair.js';
import type { SendWork } from './work.js';
import { ReceiveWork, chain } from './work.js';

/** A driver that notes what it is told, and takes work only when the test says so. */
export class ScriptedDriver implements WireDriver {
  doorbells = 0;
  readonly errors: { reason: string | null; fault: Fault }[] = [];

  onSendWork(): void {
    this.doorbells++;
  }

  onQueuePairError(reason: string | null, fault: Fault): void {
    this.errors.push({ reason, fault });
  }
}

/** A queue pair of a device of its own, on a scripted wire. */
export class RnicBench {
  readonly device = new SoftDevice('bench');
  readonly domain: ProtectionDomain = this.device.allocateProtectionDomain();
  readonly completionQueue: CompletionQueue;
  readonly driver = new ScriptedDriver();
  readonly queuePair: SoftQueuePair;

  constructor(depths: ReadDepths = { initiator: 4, responder: 4 }, requestsMax = 32) {
    this.completionQueue = this.device.createCompletionQueue({ depth: 512, vector: 0 });
    this.queuePair = this.createQueuePair(requestsMax);
    this.queuePair.activate(this.driver, depths);
  }

  createQueuePair(requestsMax = 32): SoftQueuePair {
    return this.device.createQueuePair({
      protectionDomain: this.domain,
      completionQueue: this.completionQueue,
      sendRequestsMax: requestsMax,
      receiveRequestsMax: requestsMax,
    });
  }

  register(lengthBytes: number, access: number = ALL_ACCESS): TestBuffer {
    const slab = new Slab(lengthBytes);
    const source = { slab, offset: 0, length: lengthBytes };
    const region: MemoryRegion = this.domain.registerMemory(source, access);
    return { slab, region };
  }

  post(...works: SendWork[]): void {
    this.queuePair.postSend(chain(works));
  }

  receive(buffer: TestBuffer, offset = 0, length = buffer.slab.length): ReceiveWork {
    const work = new ReceiveWork();
    work.request.sge.set(buffer.region, offset, length);
    this.queuePair.postReceive(work.request);
    return work;
  }

  takeAll(): SendSlot[] {
    const slots: SendSlot[] = [];
    for (let slot = this.queuePair.takeSend(); slot !== null; slot = this.queuePair.takeSend()) {
      slots.push(slot);
    }
    return slots;
  }
}
