import type { MemoryKey } from '../../transport/verbs.js';
import { assert } from '../../common/assert.js';
import { Ring } from '../../common/ring.js';
import type { Channel } from './channel.js';
import type { CommandTask } from './command-task.js';
import { READ_BYTES_MAX } from './limits.js';
import { CHUNK_BYTES } from '../../store/limits.js';
import type { TargetDevice } from './target-device.js';

const TWO_32 = 0x1_0000_0000;

/**
 * Fetches write data with RDMA Reads, in the order of the commands. At most the agreed number (our ORD, the
 * initiator's IRD) is outstanding, because a Read that waits in the send queue would delay the responses after it.
 */
export class ReadScheduler {
  /** 0: the initiator allows no RDMA Reads. */
  readonly depth: number;
  readonly #channel: Channel;
  readonly #device: TargetDevice;
  readonly #waiting: Ring<CommandTask>;
  readonly #skip: (task: CommandTask) => void;
  #inFlight = 0;
  #isStopped = false;

  /** `skip` receives the tasks that were aborted while they waited. */
  constructor(
    { channel, device, depth }: { channel: Channel; device: TargetDevice; depth: number },
    tasksMax: number,
    skip: (task: CommandTask) => void,
  ) {
    this.#channel = channel;
    this.#device = device;
    this.depth = depth;
    this.#waiting = new Ring(tasksMax);
    this.#skip = skip;
  }

  /** Fetches the data that did not arrive as immediate data. */
  enqueue(task: CommandTask): void {
    task.enter('waitingRead');
    task.readIssuedBytes = 0;
    this.#waiting.push(task);
    this.#issue();
  }

  /** One RDMA Read of the task has ended, with success or failure. */
  completed(task: CommandTask): void {
    task.readsInFlight -= 1;
    this.#inFlight -= 1;
    this.#issue();
  }

  /** Stops all further RDMA Reads. */
  stop(): void {
    this.#isStopped = true;
  }

  isFetched(task: CommandTask): boolean {
    return task.readsInFlight === 0 && task.readIssuedBytes === remainingBytes(task);
  }

  #issue(): void {
    while (this.#inFlight < this.depth && !this.#isStopped) {
      const task = this.#waiting.peek();
      if (task === undefined) return;
      if (task.isAborted) {
        this.#waiting.shift();
        // A task in state `reading` ends with its last RDMA Read.
        if (task.state === 'waitingRead') this.#skip(task);
        continue;
      }
      this.#issueOne(task);
      if (task.readIssuedBytes === remainingBytes(task)) this.#waiting.shift();
    }
  }

  #issueOne(task: CommandTask): void {
    const { slot, header, immediateBytes, readIssuedBytes } = task;
    const { lent } = task.command;
    const isLent = lent.count > 0;
    const bytesMax = isLent ? CHUNK_BYTES : READ_BYTES_MAX;
    const index = Math.floor(readIssuedBytes / bytesMax);
    const read = task.reads[index];
    assert(read !== undefined, 'a task with more to fetch than it has requests for');
    const length = Math.min(bytesMax, remainingBytes(task) - readIssuedBytes);
    // Linux initiators advertise the address after the immediate data.
    const low = header.writeAddressLow + readIssuedBytes;
    const carry = low >= TWO_32 ? 1 : 0;
    read.remoteKey = header.writeStag as MemoryKey;
    read.remoteAddressLow = low - carry * TWO_32;
    read.remoteAddressHigh = (header.writeAddressHigh + carry) >>> 0;
    if (isLent) {
      const region = this.#device.regionOfChunk(lent.chunkAt(index));
      assert(region !== null, 'a lent chunk that is not registered');
      read.sge(0).set(region, 0, length);
    } else {
      assert(slot !== null, 'a task without a buffer');
      const region = this.#device.regionOf(slot.slab);
      read.sge(0).set(region, slot.offset + immediateBytes + readIssuedBytes, length);
    }
    task.enter('reading');
    task.readsInFlight += 1;
    task.readIssuedBytes += length;
    this.#inFlight += 1;
    this.#channel.send(read);
  }
}

function remainingBytes(task: CommandTask): number {
  return task.command.transferBytes - task.immediateBytes;
}
