/** A device that answers reads with `ok` and puts nothing into the buffer, as one does behind a target that lies. */
import { afterEach, describe, expect, it } from 'vitest';
import { NbdExport } from '../../src/nbd/export.js';
import { NbdBed } from '../support/nbd/bed.js';
import { CMD } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';

const MIB = 1 << 20;

let bed: NbdBed;

afterEach(() => bed.dispose());

/** Writes and reads one export, then reads the other, whose device sends nothing. Returns what its client is shown. */
async function readAfterOther(readsAreVerified: boolean, length: number): Promise<Buffer> {
  const liar = new RamDevice(MIB, { readsAreVerified });
  liar.leavesReads = true;
  bed = new NbdBed({
    exports: [
      new NbdExport({ name: 'secret', device: new RamDevice(MIB) }),
      new NbdExport({ name: 'liar', device: liar }),
    ],
  });
  const address = await bed.listenTcp();
  const owner = await bed.attach(address, 'secret');
  await owner.call({ command: CMD.write, offset: 0, data: Buffer.alloc(length, 'SECRET') });
  await owner.call({ command: CMD.read, offset: 0, length });
  await owner.close();
  const other = await bed.attach(address, 'liar');
  // A short one first: it must not make the rest of the buffer its own.
  await other.call({ command: CMD.read, offset: 0, length: 1 });
  const { error, data } = await other.call({ command: CMD.read, offset: 0, length });
  expect(error).toBe(0);
  return data ?? Buffer.alloc(0);
}

describe('a device that cannot tell whether a read has filled its buffer', () => {
  it.each([512, 4096, 40_000, MIB])(
    'shows nothing of another export in %i bytes',
    async (length) => {
      expect((await readAfterOther(false, length)).equals(Buffer.alloc(length))).toBe(true);
    },
  );

  it('is why: one that promises to fill it gets it as it is', async () => {
    expect((await readAfterOther(true, 4096)).includes('SECRET')).toBe(true);
  });
});
