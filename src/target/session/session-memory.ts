import { Slab } from '../../common/slab.js';
import { ISER_HEADERS_BYTES } from '../../iscsi/iser-header.js';
import type { MemoryRegion, WorkCompletion } from '../../transport/verbs.js';
import { TargetRxDescriptor } from './descriptors.js';
import type { DescriptorMemory } from './descriptors.js';
import {
  CONTROL_RESPONSES,
  RECEIVES,
  TARGET_RECEIVE_DATA_BYTES,
  TARGET_SEND_DATA_BYTES_MAX,
  TASKS,
} from './limits.js';
import type { TargetDevice } from './target-device.js';

const words = (lengthBytes: number): number => (lengthBytes + 7) & ~7;

/** Headers and 8192 bytes of immediate data or text. */
export const RECEIVE_BYTES = ISER_HEADERS_BYTES + TARGET_RECEIVE_DATA_BYTES;
const RECEIVE_STRIDE_BYTES = words(RECEIVE_BYTES);
/** Headers, and the longest data segment of full feature phase. */
const RESPONSE_STRIDE_BYTES = words(ISER_HEADERS_BYTES + TARGET_SEND_DATA_BYTES_MAX);

/** The memory of one session's PDUs in one registration: first the receives, then the responses. */
export class SessionMemory {
  readonly #slab: Slab;
  readonly #region: MemoryRegion;

  constructor(device: TargetDevice) {
    const responses = TASKS + CONTROL_RESPONSES;
    this.#slab = new Slab(RECEIVES * RECEIVE_STRIDE_BYTES + responses * RESPONSE_STRIDE_BYTES);
    this.#region = device.register(this.#slab);
  }

  receives(
    received: (descriptor: TargetRxDescriptor, completion: WorkCompletion) => void,
  ): readonly TargetRxDescriptor[] {
    return Array.from(
      { length: RECEIVES },
      (_, index) =>
        new TargetRxDescriptor(this.#at(index * RECEIVE_STRIDE_BYTES), RECEIVE_BYTES, received),
    );
  }

  /** The memory of command response `index`. */
  taskResponse(index: number): DescriptorMemory {
    return this.#at(RECEIVES * RECEIVE_STRIDE_BYTES + index * RESPONSE_STRIDE_BYTES);
  }

  /** The memory of control response `index`. */
  controlResponse(index: number): DescriptorMemory {
    return this.taskResponse(TASKS + index);
  }

  release(): void {
    this.#region.deregister();
  }

  #at(offset: number): DescriptorMemory {
    return { slab: this.#slab, region: this.#region, offset };
  }
}
