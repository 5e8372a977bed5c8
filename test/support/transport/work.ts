import type { Slab } from '../../../src/common/slab.js';
import type {
  FastRegion,
  MemoryKey,
  MemoryRegion,
  WorkCompletion,
  WorkStatus,
} from '../../../src/transport/verbs.js';
import {
  ReceiveWorkRequest,
  SendWorkRequest,
  WorkOpcode,
  workStatusName,
} from '../../../src/transport/verbs.js';

/** What a completion said, kept after its handler. */
export interface CompletionRecord {
  readonly status: string;
  readonly opcode: WorkOpcode;
  readonly byteLength: number;
  readonly withInvalidate: boolean;
  readonly invalidatedKey: number;
}

function record(completion: WorkCompletion): CompletionRecord {
  return {
    status: statusName(completion.status),
    opcode: completion.opcode,
    byteLength: completion.byteLength,
    withInvalidate: completion.withInvalidate,
    invalidatedKey: completion.invalidatedKey,
  };
}

function statusName(status: WorkStatus): string {
  return workStatusName(status);
}

/** Counts every completion of one work request, and gives the first as a promise. */
class Outcome {
  readonly records: CompletionRecord[] = [];
  readonly completion: Promise<CompletionRecord>;
  /** Also called for each completion, inside of the handler. */
  onDone: (record: CompletionRecord) => void = () => undefined;
  #resolve: (record: CompletionRecord) => void = () => undefined;

  constructor() {
    this.completion = new Promise((resolve) => (this.#resolve = resolve));
  }

  readonly done = (completion: WorkCompletion): void => {
    const taken = record(completion);
    this.records.push(taken);
    this.#resolve(taken);
    this.onDone(taken);
  };
}

export class SendWork extends Outcome {
  readonly request = new SendWorkRequest(this.done, 4);

  constructor(opcode: WorkOpcode) {
    super();
    this.request.opcode = opcode;
  }

  unsignaled(): this {
    this.request.signaled = false;
    return this;
  }

  addSge(region: MemoryRegion, offset: number, length: number): this {
    this.request.sges[this.request.sgeCount++]!.set(region, offset, length);
    return this;
  }
}

export class ReceiveWork extends Outcome {
  readonly request = new ReceiveWorkRequest(this.done);
}

interface Local {
  readonly region: MemoryRegion;
}

/** A key and a 64-bit address at the peer. */
export interface Remote {
  readonly key: MemoryKey;
  readonly high: number;
  readonly low: number;
}

/** `delta` bytes into a region of the peer; may lie outside of it. */
export function remoteAt(region: MemoryRegion, delta = 0, key: number = region.rkey): Remote {
  const base = (BigInt(region.addressHigh) << 32n) | BigInt(region.addressLow);
  return remoteAddress(key, base + BigInt(delta));
}

export function remoteAddress(key: number, address: bigint): Remote {
  const wrapped = BigInt.asUintN(64, address);
  return {
    key: key as MemoryKey,
    high: Number(wrapped >> 32n),
    low: Number(wrapped & 0xffff_ffffn),
  };
}

export function sendWork(local: Local, offset: number, length: number): SendWork {
  return new SendWork(WorkOpcode.send).addSge(local.region, offset, length);
}

export function sendInvalidateWork(
  local: Local,
  offset: number,
  length: number,
  key: number,
): SendWork {
  const work = new SendWork(WorkOpcode.sendWithInvalidate).addSge(local.region, offset, length);
  work.request.invalidateKey = key as MemoryKey;
  return work;
}

export function writeWork(local: Local, offset: number, length: number, remote: Remote): SendWork {
  return tagged(WorkOpcode.rdmaWrite, local, offset, length, remote);
}

export function readWork(local: Local, offset: number, length: number, remote: Remote): SendWork {
  return tagged(WorkOpcode.rdmaRead, local, offset, length, remote);
}

function tagged(
  opcode: WorkOpcode,
  local: Local,
  offset: number,
  length: number,
  remote: Remote,
): SendWork {
  const work = new SendWork(opcode).addSge(local.region, offset, length);
  work.request.remoteKey = remote.key;
  work.request.remoteAddressHigh = remote.high;
  work.request.remoteAddressLow = remote.low;
  return work;
}

export function registerWork(
  region: FastRegion,
  key: number,
  slab: Slab,
  access: number,
  offset = 0,
  length = slab.length,
): SendWork {
  const work = new SendWork(WorkOpcode.registerMemory);
  work.request.fastRegion = region;
  work.request.registerKey = key as MemoryKey;
  work.request.registerSlab = slab;
  work.request.registerOffset = offset;
  work.request.registerLength = length;
  work.request.registerAccess = access;
  return work;
}

export function invalidateWork(key: number): SendWork {
  const work = new SendWork(WorkOpcode.localInvalidate);
  work.request.invalidateKey = key as MemoryKey;
  return work;
}

/** Links the requests, and returns the first. */
export function chain(works: readonly SendWork[]): SendWorkRequest {
  works.forEach((work, index) => {
    work.request.next = works[index + 1]?.request ?? null;
  });
  return works[0]!.request;
}

/** Fills bytes with a pattern that is different at every place and for every seed. */
export function fillPattern(bytes: Uint8Array, seed: number): void {
  let state = (seed | 0) === 0 ? 0x9e37_79b9 : seed | 0;
  for (let index = 0; index < bytes.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[index] = state;
  }
}
