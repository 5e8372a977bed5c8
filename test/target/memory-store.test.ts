import { describe, expect, it } from 'vitest';
import type { Slab } from '../../src/common/slab.js';
import { MemoryStore } from '../../src/target/memory-store.js';
import { StoreOp, StoreStatus } from '../../src/target/store.js';
import { read, run, storeSuite, write } from '../support/target-store-suite.js';

storeSuite('a memory store', (sizeBytes) => Promise.resolve(new MemoryStore({ sizeBytes })));

describe('a memory store', () => {
  it('takes memory with the first write, and gives it back when a chunk is punched whole', async () => {
    const store = new MemoryStore({ sizeBytes: 1 << 30 });
    expect(store.allocatedBytes).toBe(0);
    await write(store, 5 << 20, Buffer.alloc(4096, 1));
    expect(store.allocatedBytes).toBe(65_536);
    await write(store, (5 << 20) + 8192, Buffer.alloc(4096, 1));
    await run(store, { op: StoreOp.punch, offset: 5 << 20, length: 4096 });
    expect(store.allocatedBytes).toBe(65_536);
    await run(store, { op: StoreOp.punch, offset: (5 << 20) + 8192, length: 4096 });
    expect(store.allocatedBytes).toBe(0);
  });

  it('does not show old data in memory that it takes up again', async () => {
    const store = new MemoryStore({ sizeBytes: 1 << 20 });
    await write(store, 0, Buffer.alloc(65_536, 9));
    await run(store, { op: StoreOp.punch, offset: 0, length: 65_536 });
    await write(store, 4096, Buffer.alloc(512, 1));
    expect((await read(store, 0, 4096)).every((byte) => byte === 0)).toBe(true);
    expect((await read(store, 4608, 3584)).every((byte) => byte === 0)).toBe(true);
  });

  it('ends in the middle of a page when its size says so', async () => {
    const store = new MemoryStore({ sizeBytes: 65_536 + 512 });
    await write(store, 65_536, Buffer.alloc(512, 1));
    expect(store.allocationRunBytes(0, 1 << 20)).toBe(65_536);
    expect(store.allocationRunBytes(65_536, 1 << 20)).toBe(512);
    await run(store, { op: StoreOp.punch, offset: 65_536, length: 512 });
    expect(store.allocatedBytes).toBe(0);
  });

  it('refuses a request without memory instead of inventing data', async () => {
    const store = new MemoryStore({ sizeBytes: 4096 });
    const slab: Slab | null = null;
    const length = 512;
    expect(await run(store, { op: StoreOp.read, length, slab })).toBe(StoreStatus.ioError);
    expect(await run(store, { op: StoreOp.write, length, slab })).toBe(StoreStatus.ioError);
  });
});
