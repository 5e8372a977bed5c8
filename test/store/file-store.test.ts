import {
  closeSync,
  fdatasync,
  fstat,
  fstatSync,
  linkSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import type * as FileSystem from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { Slab } from '../../src/common/slab.js';
import { silentLogger } from '../../src/observe/log.js';
import { FileStore } from '../../src/store/file-store.js';
import { HolePuncher } from '../../src/store/hole-puncher.js';
import { FileSync } from '../../src/store/file-sync.js';
import { StoreOp, StoreStatus } from '../../src/store/store.js';
import { read, run, storeSuite, write } from '../support/target/store-suite.js';
import { until } from '../support/waiting.js';

vi.mock('node:fs', async (original) => {
  const real = await original<typeof FileSystem>();
  return { ...real, fstat: vi.fn(real.fstat), fdatasync: vi.fn(real.fdatasync) };
});

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
      [() => open(512, file), /1000 bytes, more than the requested 512/],
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

  it('believes nothing that the system says about blocks, when an old file is to be zeroed', async () => {
    const stat = vi.mocked(fstat).mockImplementation((fd: number, ...rest: unknown[]) => {
      const done = rest.pop() as (error: Error | null, stats: { blocks: number | bigint }) => void;
      const options = (rest[0] ?? {}) as { bigint?: boolean };
      // As several network file systems answer.
      const stats = fstatSync(fd, options) as { blocks: number | bigint };
      stats.blocks = options.bigint === true ? 0n : 0;
      setImmediate(done, null, stats);
    });
    const path = join(folder, 'disk');
    writeFileSync(path, Buffer.alloc(1 << 20, 0x55));
    const store = await open(2 << 20, path);
    stat.mockReset();
    expect(store.isAllocated(0)).toBe(true);
    expect(store.isAllocated((1 << 20) - 1)).toBe(true);
    expect(store.isAllocated(1 << 20)).toBe(false);
    expect(await run(store, { op: StoreOp.punch, offset: 0, length: 2 << 20 })).toBe(
      StoreStatus.ok,
    );
    expect((await read(store, 0, 2 << 20)).every((byte) => byte === 0)).toBe(true);
    await store.close();
  });

  it('is refused a file that another store has open, under whatever name, until that is closed', async () => {
    const path = join(folder, 'disk');
    const store = await open(65_536, path);
    linkSync(path, join(folder, 'hard'));
    symlinkSync(path, join(folder, 'soft'));
    for (const name of ['disk', 'hard', 'soft']) {
      const opening = open(1 << 20, join(folder, name));
      await expect(opening).rejects.toThrow(ConfigError);
      await expect(opening).rejects.toThrow(`${name} is open already as another LUN; give each`);
    }
    expect(statSync(path).size).toBe(65_536);
    // What was opened in vain does not count.
    await expect(open(512, join(folder, 'soft'))).rejects.toThrow(ConfigError);
    await store.close();
    await expect(open(512, path)).rejects.toThrow(/more than the requested 512/);
    await (await open(null, path)).close();
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
    const { FileOperation, FileAction } = await import('../../src/store/file-operation.js');
    const fd = openSync('/dev/full', 'r+');
    const status = await new Promise((resolve) => {
      const operation = new FileOperation(fd, new FileSync(fd, () => {}), (_, result) =>
        resolve(result),
      );
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

describe('a file store whose fdatasync fails', () => {
  const EIO = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
  const flush = { op: StoreOp.flush };
  const forced = (op: StoreOp) => ({
    op,
    length: 4096,
    slab: new Slab(4096),
    forceUnitAccess: true,
  });
  /** Ends of the syncs that run. */
  let syncs: ((error: NodeJS.ErrnoException | null) => void)[] = [];
  beforeEach(() => {
    syncs = [];
    vi.mocked(fdatasync).mockImplementation((_, done) => void syncs.push(done));
  });
  afterEach(() => void vi.mocked(fdatasync).mockReset());

  it('says of no later flush or forced write that it is safe, until it is opened again', async () => {
    const errors: unknown[] = [];
    const log = { ...silentLogger, error: (facts: unknown) => errors.push(facts) };
    const path = join(folder, 'disk');
    const choice = { path, sizeBytes: 1 << 20, blockBytes: 512, readOnly: false };
    const store = await FileStore.open(choice, log);
    await write(store, 0, Buffer.alloc(4096, 1));
    const failing = run(store, forced(StoreOp.write));
    await until(() => syncs.length === 1);
    syncs[0]!(EIO);
    expect(await failing).toBe(StoreStatus.ioError);
    for (const op of [StoreOp.write, StoreOp.writeZeroes, StoreOp.punch]) {
      expect(await run(store, forced(op))).toBe(StoreStatus.ioError);
    }
    expect(await run(store, flush)).toBe(StoreStatus.ioError);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ error: EIO.message });
    await write(store, 0, Buffer.alloc(4096, 2));
    expect((await read(store, 0, 4096))[0]).toBe(2);
    expect(await run(store, { op: StoreOp.read, length: 0 })).toBe(StoreStatus.ok);
    await store.close();
    expect(syncs).toHaveLength(1);
    const again = await FileStore.open(choice);
    const flushed = run(again, flush);
    syncs[1]!(null);
    expect(await flushed).toBe(StoreStatus.ok);
    await again.close();
  });

  it('runs no sync beside one that may fail, for only one of them would be told', async () => {
    const store = await open(1 << 20);
    const flushes = [run(store, flush), run(store, flush), run(store, flush)];
    expect(syncs).toHaveLength(1);
    syncs[0]!(null);
    expect(await flushes[0]).toBe(StoreStatus.ok);
    expect(syncs).toHaveLength(2);
    const late = run(store, flush);
    syncs[1]!(EIO);
    expect(await Promise.all([...flushes, late])).toEqual([
      StoreStatus.ok,
      StoreStatus.ioError,
      StoreStatus.ioError,
      StoreStatus.ioError,
    ]);
    expect(syncs).toHaveLength(2);
    await store.close();
  });

  it('tells a device that is full from one that is broken, once', async () => {
    const store = await open(1 << 20);
    const flushed = run(store, flush);
    syncs[0]!(Object.assign(new Error('full'), { code: 'ENOSPC' }));
    expect(await flushed).toBe(StoreStatus.noSpace);
    expect(await run(store, flush)).toBe(StoreStatus.ioError);
    await store.close();
  });
});
