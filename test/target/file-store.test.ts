import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { Slab } from '../../src/common/slab.js';
import { FileStore } from '../../src/target/file-store.js';
import { HolePuncher } from '../../src/target/hole-puncher.js';
import { StoreOp, StoreStatus } from '../../src/target/store.js';
import { read, run, storeSuite, write } from '../support/target-store-suite.js';

let folder = '';
let count = 0;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iser-nbd-store-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function open(sizeBytes: number | null, path = join(folder, `disk${count++}`), readOnly = false) {
  return FileStore.open({ path, sizeBytes, blockBytes: 512, readOnly });
}

storeSuite('a file store', (sizeBytes) => open(sizeBytes));

describe('a file store', () => {
  it('creates a sparse file of its size, which keeps its data', async () => {
    const path = join(folder, 'disk');
    const store = await open(1 << 30, path);
    await write(store, 4096, Buffer.from('persistent'.padEnd(512)));
    await store.close();
    expect(statSync(path).size).toBe(1 << 30);
    expect(statSync(path).blocks * 512).toBeLessThan(1 << 20);
    const again = await open(null, path);
    expect(again.sizeBytes).toBe(1 << 30);
    expect((await read(again, 4096, 10)).toString()).toBe('persistent');
    await again.close();
  });

  it('frees storage when a range is punched, where the system can', async () => {
    const path = join(folder, 'disk');
    const store = await open(4 << 20, path);
    await write(store, 0, Buffer.alloc(4 << 20, 1));
    await run(store, { op: StoreOp.flush });
    const before = statSync(path).blocks;
    await run(store, { op: StoreOp.punch, offset: 0, length: 4 << 20, forceUnitAccess: true });
    if (store.canPunch) expect(statSync(path).blocks).toBeLessThan(before / 2);
    expect((await read(store, 0, 4 << 20)).every((byte) => byte === 0)).toBe(true);
    await store.close();
  });

  it('takes what an existing file has for data until it is punched', async () => {
    const path = join(folder, 'disk');
    writeFileSync(path, Buffer.alloc(1 << 20));
    const store = await open(null, path);
    expect(store.isAllocated(0)).toBe(true);
    expect(store.allocationRunBytes(0, 1 << 20)).toBe(1 << 20);
    await store.close();
  });

  it('lengthens a file that is shorter than the size asked for', async () => {
    const path = join(folder, 'disk');
    writeFileSync(path, 'head');
    const store = await open(8192, path);
    expect((await read(store, 0, 4)).toString()).toBe('head');
    expect((await read(store, 4096, 512)).every((byte) => byte === 0)).toBe(true);
    await store.close();
  });

  it('says in one line what is wrong with a file', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, Buffer.alloc(1000));
    const empty = join(folder, 'empty');
    writeFileSync(empty, '');
    const cases: [() => Promise<FileStore>, RegExp][] = [
      [() => open(null, join(folder, 'missing')), /missing does not exist; give a size/],
      [() => open(512, join(folder, 'no', 'such')), /its directory does not exist/],
      [() => open(null, folder), /is a directory/],
      [() => open(null, folder, true), /is not a regular file/],
      [() => open(null, '/dev/null'), /is not a regular file/],
      [() => open(null, empty), /is empty/],
      [() => open(null, file), /1000 bytes, which is not a multiple of 512/],
      [() => open(512, file), /1000 bytes, more than the 512 asked for/],
      [() => open(4096, file, true), /1000 bytes, less than 4096/],
      [() => open(512, join(file, 'below')), /is below something that is not a directory/],
      [() => open(2 ** 53 - 512, join(folder, 'huge')), /cannot be made/],
    ];
    for (const [opening, message] of cases) {
      const error: unknown = await opening().then(
        () => null,
        (caught: unknown) => caught,
      );
      expect(error).toBeInstanceOf(ConfigError);
      expect((error as ConfigError).message).toMatch(message);
      expect((error as ConfigError).message).not.toContain('\n');
    }
  });

  it('fails a read behind the end of a file that was cut off, instead of inventing zeroes', async () => {
    const path = join(folder, 'disk');
    const store = await open(65_536, path);
    await write(store, 0, Buffer.alloc(65_536, 1));
    truncateSync(path, 4096);
    const slab = new Slab(8192);
    const status = await run(store, { op: StoreOp.read, offset: 0, length: 8192, slab });
    expect(status).toBe(StoreStatus.ioError);
    await store.close();
  });

  it('fails a write to a file that may not be written', async () => {
    const path = join(folder, 'disk');
    writeFileSync(path, Buffer.alloc(4096));
    const store = await open(null, path, true);
    const slab = new Slab(512);
    expect(await run(store, { op: StoreOp.write, length: 512, slab })).toBe(StoreStatus.ioError);
    expect(store.canPunch).toBe(false);
    await store.close();
  });

  it('tells a full device from a broken one', async () => {
    const { FileOperation, FileAction } = await import('../../src/target/file-operation.js');
    const fd = openSync('/dev/full', 'r+');
    const status = await new Promise((resolve) => {
      const operation = new FileOperation(fd, (_, result) => resolve(result));
      operation.action = FileAction.zero;
      operation.length = 512;
      operation.start();
    });
    closeSync(fd);
    expect(status).toBe(StoreStatus.noSpace);
  });

  it('keeps a range allocated that is written while it is punched', async () => {
    const store = await open(1 << 20);
    await write(store, 0, Buffer.alloc(1 << 20, 1));
    const slab = new Slab(4096);
    slab.bytes.fill(2);
    const punched = run(store, { op: StoreOp.punch, offset: 0, length: 1 << 20 });
    const written = run(store, { op: StoreOp.write, offset: 65_536, length: 4096, slab });
    await Promise.all([punched, written]);
    const isZero = (await read(store, 65_536, 4096)).every((byte) => byte === 0);
    expect(store.isAllocated(65_536) || isZero).toBe(true);
    await store.close();
  });

  it('writes zeroes where a hole is refused after all', async () => {
    const refusing = vi
      .spyOn(HolePuncher.prototype, 'punch')
      .mockImplementation(({ done }) => queueMicrotask(() => done('not today')));
    const path = join(folder, 'disk');
    const store = await open(1 << 20, path);
    await write(store, 0, Buffer.alloc(1 << 20, 1));
    await run(store, { op: StoreOp.punch, offset: 0, length: 1 << 20 });
    await store.close();
    refusing.mockRestore();
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
    expect(store.isAllocated(0)).toBe(true);
  });
});
