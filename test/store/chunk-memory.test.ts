import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, it } from 'vitest';
import { MemoryStore } from '../../src/store/memory-store.js';
import { PinnedData } from '../../src/store/pinned-data.js';
import { pattern, read16, write16 } from '../support/target/cdbs.js';
import { TargetBed } from '../support/target/bed.js';
import { turn } from '../support/waiting.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const COMMANDS = 32;
const CHUNKS_PER_COMMAND = 4;
const UNMAP_ALL = Buffer.alloc(24);
UNMAP_ALL.writeUInt16BE(22, 0);
UNMAP_ALL.writeUInt16BE(16, 2);
UNMAP_ALL.writeUInt32BE(COMMANDS * 2048, 16);

let bed: TargetBed | null = null;
afterEach(() => bed?.close());

it('frees the memory of chunks that were read in place, when they are unmapped', async () => {
  const store = new MemoryStore({ sizeBytes: COMMANDS << 20 });
  bed = await TargetBed.start({ luns: [store] });
  const initiator = await bed.initiator();
  for (let index = 0; index < COMMANDS; index++) {
    const cdb = write16(index * 2048, 2048);
    await initiator.execute({ cdb, write: pattern(1 << 20, index) });
  }
  const slabs = slabsOf(store);
  // All at once, so that each has a task, and each task a work request, of its own.
  for (let index = 0; index < COMMANDS; index++) {
    initiator.sendCommand({ cdb: read16(index * 2048, 2048), read: 1 << 20 });
  }
  for (let index = 0; index < COMMANDS; index++) await initiator.receiveResponse();

  const cdb = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];
  const { response } = await initiator.execute({ cdb, write: UNMAP_ALL, immediateBytes: 24 });

  expect(response.status).toBe(0);
  expect([store.allocatedBytes, store.pinnedChunks]).toEqual([0, 0]);
  // A reference that was looked at lives until the turn's end.
  await turn();
  collectGarbage();
  expect(slabs.filter((slab) => slab.deref() !== undefined)).toHaveLength(0);
});

/** Without holding them: in a function of its own, whose variables are gone when it returns. */
function slabsOf(store: MemoryStore): WeakRef<object>[] {
  const pinned = new PinnedData();
  const slabs: WeakRef<object>[] = [];
  for (let index = 0; index < COMMANDS; index++) {
    store.pin(index << 20, 1 << 20, pinned);
    for (const { chunk } of pinned.pieces.slice(0, CHUNKS_PER_COMMAND)) {
      slabs.push(new WeakRef(chunk!.slab));
    }
    pinned.release();
  }
  return slabs;
}
