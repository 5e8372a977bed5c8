import { assert } from '../../common/assert.js';
import { SGES_MAX, WORK_REQUESTS_MAX } from '../limits.js';
import type { MemoryKey, ProtectionDomain, SendWorkRequest, Sge } from '../verbs.js';
import { NO_MEMORY_KEY, VerbsError, WorkOpcode } from '../verbs.js';
import { regionAddressHigh, regionAddressLow } from './address.js';
import { SoftRegion } from './region.js';

/** The upper half of the tagged offset of an RDMA Read's sink. Zero for a read of zero bytes. */
export function readSinkHigh(request: SendWorkRequest): number {
  const region = sinkRegion(request);
  return region === null ? 0 : regionAddressHigh(region, request.sge(0).offset);
}

/** The lower half of the same offset. */
export function readSinkLow(request: SendWorkRequest): number {
  const region = sinkRegion(request);
  return region === null ? 0 : regionAddressLow(region, request.sge(0).offset);
}

/** The key of an RDMA Read's sink. Zero for a read of zero bytes. */
export function readSinkKey(request: SendWorkRequest): MemoryKey {
  const region = sinkRegion(request);
  return region === null ? NO_MEMORY_KEY : region.activeKey;
}

/** Null for a read of nothing. {@link localRegion} has accepted any other. */
function sinkRegion(request: SendWorkRequest): SoftRegion | null {
  if (request.sgeCount === 0) return null;
  const { region, length } = request.sge(0);
  if (region === null) {
    assert(length === 0, 'an RDMA Read without its memory');
    return null;
  }
  assert(region instanceof SoftRegion, 'an RDMA Read into memory of another device');
  return region;
}

/** The region of an SGE if a queue pair of `domain` may use it with `access`, else null. */
export function localRegion(sge: Sge, domain: ProtectionDomain, access: number): SoftRegion | null {
  const region = sge.region;
  if (!(region instanceof SoftRegion) || !region.isValid) return null;
  if (region.protectionDomain !== domain || (region.access & access) !== access) return null;
  if (sge.offset < region.offset || sge.length < 0) return null;
  return sge.offset + sge.length <= region.offset + region.length ? region : null;
}

/**
 * Checks the SGE count of each request in a chain. An RDMA Read has one sink on the wire (RFC 5040 section 4.4), so
 * it has one SGE.
 */
export function requireWellFormed(first: SendWorkRequest): void {
  for (let request: SendWorkRequest | null = first; request !== null; request = request.next) {
    const sgesMax = request.opcode === WorkOpcode.rdmaRead ? 1 : SGES_MAX;
    if (request.sgeCount > sgesMax || request.sgeCount > request.sges.length) {
      throw new VerbsError(
        'too-many-sges',
        `A work request with opcode ${request.opcode} has ${request.sgeCount} SGEs; ${sgesMax} are allowed.`,
      );
    }
  }
}

export function requireQueueSize(requestsMax: number): void {
  if (Number.isInteger(requestsMax) && requestsMax >= 1 && requestsMax <= WORK_REQUESTS_MAX) return;
  throw new VerbsError(
    'queue-size',
    `A queue holds 1 to ${WORK_REQUESTS_MAX} work requests, not ${requestsMax}.`,
    { requestsMax },
  );
}
