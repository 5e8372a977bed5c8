import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slab } from '../../src/common/slab.js';
import { IserDevice } from '../../src/iser/device.js';
import { MemoryRegistration } from '../../src/iser/memory-registration.js';
import { SlabRegions } from '../../src/iser/slab-regions.js';
import { SoftDevice } from '../../src/transport/rnic/device.js';
import type { MemoryRegion } from '../../src/transport/verbs.js';
import { Access } from '../../src/transport/verbs.js';

const options = { onlineCpus: 4, registration: 'auto' } as const;

describe('a device', () => {
  it('registers fast where it can, and lets targets invalidate', () => {
    const device = new IserDevice(new SoftDevice('a'), options);
    expect(device.registrationOps.name).toBe('fast');
    expect(device.remoteInvalidate).toBe(true);
  });

  it('uses the pool where it cannot, or is told to, and lets nobody invalidate', () => {
    const poor = new SoftDevice('a', { fastRegistration: false });
    expect(new IserDevice(poor, options).registrationOps.name).toBe('pool');
    const told = new IserDevice(new SoftDevice('b'), { ...options, registration: 'pool' });
    expect(told.registrationOps.name).toBe('pool');
    expect(told.remoteInvalidate).toBe(false);
  });

  it.each([
    [1, 8, 1],
    [4, 1, 1],
    [4, 3, 3],
    [0, 0, 1],
  ])('with %i CPUs and %i vectors uses %i completion contexts', (cpus, vectors, contexts) => {
    const soft = new SoftDevice('a', { completionVectors: Math.max(vectors, 1) });
    const device = new IserDevice(soft, { ...options, onlineCpus: cpus });
    expect(device.contexts).toHaveLength(contexts);
  });

  it('gives a new queue pair the least used context that has room', () => {
    const device = new IserDevice(new SoftDevice('a', { completionVectors: 2 }), options);
    const [first, second] = device.contexts;
    const depth = first!.completionQueue.depth;
    expect(device.attachQueuePair(10)).toBe(first);
    expect(device.attachQueuePair(10)).toBe(second);
    expect(device.attachQueuePair(depth - 10)).toBe(first);
    expect(device.attachQueuePair(10)).toBe(second);
    expect(device.attachQueuePair(10)).toBe(second);
    first!.detach(depth - 10);
    expect(device.attachQueuePair(10)).toBe(first);
    expect(device.attachQueuePair(depth)).toBe(device.contexts[2]);
  });

  it('frees everything it took', () => {
    const soft = new SoftDevice('a');
    const device = new IserDevice(soft, { ...options, registration: 'pool' });
    device.localRegions.get(new Slab(4096));
    expect(soft.regions.count).toBe(1);
    device.free();
    expect(soft.regions.count).toBe(0);
  });
});

describe('the regions of slabs', () => {
  function regionsOn(soft: SoftDevice): SlabRegions {
    return new SlabRegions(soft.allocateProtectionDomain(), Access.remoteRead);
  }

  it('are made once per slab', () => {
    const soft = new SoftDevice('a');
    const regions = regionsOn(soft);
    const slabs = [new Slab(100), new Slab(200)];
    const first = regions.get(slabs[0]!);
    expect(first.length).toBe(100);
    expect(regions.get(slabs[0]!)).toBe(first);
    expect(regions.get(slabs[1]!)).not.toBe(first);
    expect(soft.regions.count).toBe(2);
    regions.deregisterAll();
    expect(first.isValid).toBe(false);
    expect(soft.regions.count).toBe(0);
  });

  it('are made anew when one was revoked', () => {
    const soft = new SoftDevice('a');
    const regions = regionsOn(soft);
    const slab = new Slab(100);
    const first = regions.get(slab);
    first.deregister();
    const second = regions.get(slab);
    expect(second).not.toBe(first);
    expect(second.isValid).toBe(true);
  });
});

describe('the remote address of a buffer', () => {
  it('is exact in 64 bits, wherever the region lies', () => {
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(
      fc.property(
        fc.record({ high: fc.integer({ min: 0, max: 0xffff_fffe }), low: u32 }),
        fc.integer({ min: 0, max: 2 ** 31 }),
        fc.integer({ min: 0, max: 2 ** 31 }),
        ({ high, low }, start, distance) => {
          const region = { addressHigh: high, addressLow: low, offset: start };
          const registration = new MemoryRegistration();
          registration.setAddress(region as MemoryRegion, start + distance);
          const expected = (BigInt(high) << 32n) + BigInt(low) + BigInt(distance);
          expect(registration.addressHigh).toBe(Number(expected >> 32n));
          expect(registration.addressLow).toBe(Number(expected & 0xffff_ffffn));
        },
      ),
    );
  });
});
