import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { chmodSync, writeFileSync } from 'node:fs';
import { findData } from '../../src/store/hole-finder.js';
import { FileStore } from '../../src/store/file-store.js';
import { StoreOp } from '../../src/store/store.js';
import { run } from '../support/target/store-suite.js';

const MIB = 1 << 20;
const hasPerl = spawnSync('perl', ['-e', '1']).status === 0;

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iser-nbd-holes-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** A file with data at these places, made by somebody else. */
function sparseFile(sizeBytes: number, places: readonly (readonly [number, number])[]): string {
  const path = join(folder, 'disk.img');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, sizeBytes);
  for (const [offset, length] of places) writeSync(fd, Buffer.alloc(length, 7), 0, length, offset);
  fsyncSync(fd);
  closeSync(fd);
  return path;
}

async function dataOf(path: string, sizeBytes: number): Promise<[number, number][] | string> {
  const fd = openSync(path, 'r');
  const runs: [number, number][] = [];
  const obstacle = await findData(fd, sizeBytes, (start, end) => runs.push([start, end]));
  closeSync(fd);
  return obstacle ?? runs;
}

/** Has this run instead of Perl. */
function standIn(script: string): void {
  const path = join(folder, 'perl');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  vi.stubEnv('PATH', `${folder}${delimiter}${process.env['PATH'] ?? ''}`);
}

/** Runs of the store's map: how long, and whether there is storage. */
function runsOf(store: FileStore): [number, boolean][] {
  const runs: [number, boolean][] = [];
  for (let at = 0; at < store.sizeBytes;) {
    const length = store.allocationRunBytes(at, store.sizeBytes - at);
    runs.push([length, store.isAllocated(at)]);
    at += length;
  }
  return runs;
}

const open = (path: string, sizeBytes: number | null = null) =>
  FileStore.open({ path, sizeBytes, blockBytes: 512, readOnly: false });

describe.skipIf(!hasPerl)('looking for the data of a file', () => {
  it('finds every byte of it, and holes between', async () => {
    const places = [
      [0, 4096],
      [MIB, 64 << 10],
      [8 * MIB - 4096, 4096],
    ] as const;
    const found = await dataOf(sparseFile(8 * MIB, places), 8 * MIB);
    if (typeof found === 'string') throw new Error(found);
    for (const [offset, length] of places) {
      expect(found.some(([start, end]) => start <= offset && end >= offset + length)).toBe(true);
    }
    expect(found.reduce((sum, [start, end]) => sum + end - start, 0)).toBeLessThan(2 * MIB);
  });

  it('finds nothing in a file that is all hole, and all of one that is full', async () => {
    expect(await dataOf(sparseFile(4 * MIB, []), 4 * MIB)).toEqual([]);
    const full = sparseFile(MIB, [[0, MIB]]);
    expect(await dataOf(full, MIB)).toEqual([[0, MIB]]);
  });

  it.each([
    ['is not there', 'exit 127', /not what was expected/],
    ['fails', 'echo no such luck >&2; exit 2', /no such luck/],
    ['says nothing', 'exit 0', /not what was expected/],
    ['stops before the end', 'echo "0 4096"', /not what was expected/],
    ['goes backwards', 'printf "4096 8192\\n0 4096\\nend\\n"', /not what was expected/],
    ['says nonsense', 'printf "0 4096\\nwhat\\nend\\n"', /not what was expected/],
    ['goes on behind the end', 'printf "end\\n0 4096\\n"', /not what was expected/],
    ['is killed', 'kill -9 $$', /longer than/],
  ])('believes nothing of a helper that %s', async (_what, script, reason) => {
    const path = sparseFile(MIB, []);
    standIn(script);
    expect(await dataOf(path, MIB)).toMatch(reason);
  });

  it('takes its answer in whatever pieces it comes', async () => {
    const path = sparseFile(MIB, []);
    standIn('printf "0 40"; sleep 0; printf "96\\n8192 "; printf "12288\\nen"; printf "d\\n"');
    expect(await dataOf(path, MIB)).toEqual([
      [0, 4096],
      [8192, 12288],
    ]);
  });
});

describe.skipIf(!hasPerl)('a file store', () => {
  it('sees a sparse file as it is, also after a restart', async ({ skip }) => {
    const path = sparseFile(8 * MIB, [[2 * MIB, MIB]]);
    const store = await open(path);
    if (!store.canPunch) {
      await store.close();
      skip('the file system punches no holes');
    }
    const before = runsOf(store);
    expect(before).toEqual([
      [2 * MIB, false],
      [MIB, true],
      [5 * MIB, false],
    ]);
    await run(store, { op: StoreOp.writeZeroes, offset: 6 * MIB, length: MIB });
    await run(store, { op: StoreOp.punch, offset: 2 * MIB, length: MIB });
    await store.close();
    const again = await open(path);
    expect(runsOf(again)).toEqual([
      [6 * MIB, false],
      [MIB, true],
      [MIB, false],
    ]);
    await again.close();
  });

  it('takes what it adds to a file for a hole, and what was there as it is', async () => {
    const path = sparseFile(2 * MIB, [[0, 4096]]);
    const store = await open(path, 4 * MIB);
    expect(runsOf(store)).toEqual([
      [4096, true],
      [4 * MIB - 4096, false],
    ]);
    await store.close();
  });

  it('takes all of a file for allocated when its holes cannot be found', async () => {
    const path = sparseFile(2 * MIB, [[0, 4096]]);
    standIn('exit 1');
    const store = await open(path, 4 * MIB);
    expect(runsOf(store)).toEqual([
      [2 * MIB, true],
      [2 * MIB, false],
    ]);
    await store.close();
  });
});
