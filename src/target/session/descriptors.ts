import type { Slab } from '../../common/slab.js';
import { ISER_HEADERS_BYTES, ISER_HEADER_BYTES } from '../../iscsi/iser-header.js';
import { ReceiveWorkRequest, SendWorkRequest, WorkOpcode } from '../../transport/verbs.js';
import type { MemoryKey, MemoryRegion, WorkCompletion } from '../../transport/verbs.js';

/** The registered memory of a descriptor's PDU. */
export interface DescriptorMemory {
  readonly slab: Slab;
  readonly region: MemoryRegion;
  readonly offset: number;
}

/** A receive and its buffer: iSER header, BHS and data segment. Posted many times. */
export class TargetRxDescriptor {
  readonly view: DataView;
  readonly slab: Slab;
  readonly offset: number;
  readonly bhsOffset: number;
  readonly dataOffset: number;
  readonly request: ReceiveWorkRequest;
  /** The data segment length of the PDU, checked against the received bytes. */
  dataLength = 0;

  constructor(
    { slab, region, offset }: DescriptorMemory,
    lengthBytes: number,
    received: (descriptor: TargetRxDescriptor, completion: WorkCompletion) => void,
  ) {
    this.slab = slab;
    this.view = slab.view;
    this.offset = offset;
    this.bhsOffset = offset + ISER_HEADER_BYTES;
    this.dataOffset = offset + ISER_HEADERS_BYTES;
    this.request = new ReceiveWorkRequest((completion) => received(this, completion));
    this.request.sge.set(region, offset, lengthBytes);
  }
}

/** A Send and its buffer. In use from filling to completion. */
export class TargetTxDescriptor {
  readonly view: DataView;
  readonly slab: Slab;
  readonly offset: number;
  readonly bhsOffset: number;
  readonly dataOffset: number;
  readonly request: SendWorkRequest;
  readonly #region: MemoryRegion;

  constructor(
    { slab, region, offset }: DescriptorMemory,
    sent: (descriptor: TargetTxDescriptor, completion: WorkCompletion) => void,
  ) {
    this.slab = slab;
    this.view = slab.view;
    this.offset = offset;
    this.bhsOffset = offset + ISER_HEADER_BYTES;
    this.dataOffset = offset + ISER_HEADERS_BYTES;
    this.#region = region;
    this.request = new SendWorkRequest((completion) => sent(this, completion), 1);
    this.request.sgeCount = 1;
  }

  /**
   * Sets the length of the Send: the headers and `dataLength` bytes, padded to words. With `invalidateKey` 0 the Send
   * invalidates no key.
   */
  prepare(dataLength: number, invalidateKey = 0): void {
    const { request } = this;
    const padded = (dataLength + 3) & ~3;
    for (let at = dataLength; at < padded; at++) this.view.setUint8(this.dataOffset + at, 0);
    request.opcode = invalidateKey === 0 ? WorkOpcode.send : WorkOpcode.sendWithInvalidate;
    request.invalidateKey = invalidateKey as MemoryKey;
    request.next = null;
    request.sge(0).set(this.#region, this.offset, ISER_HEADERS_BYTES + padded);
  }
}
