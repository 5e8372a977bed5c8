import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  linkSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockFile } from '../../src/store/file-lock.js';
import { FileStore } from '../../src/store/file-store.js';

const hasFlock = spawnSync('flock', ['--version'], { stdio: 'ignore' }).status === 0;

let folder = '';
let path = '';
let other: ChildProcess | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iser-nbd-lock-'));
  path = join(folder, 'disk');
  writeFileSync(path, Buffer.alloc(4096));
});
afterEach(() => {
  vi.unstubAllEnvs();
  other?.kill('SIGKILL');
  other = null;
  rmSync(folder, { recursive: true });
});

const open = (name = path, readOnly = false) =>
  FileStore.open({ path: name, sizeBytes: null, blockBytes: 512, readOnly });

/** Another process with a lock on the file, until it is killed. */
async function lockElsewhere(how: '-x' | '-s'): Promise<ChildProcess> {
  const script = 'exec 3<>"$1"; flock "$2" 3 && echo locked && exec cat';
  other = spawn('sh', ['-c', script, 'sh', path, how], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(other.stdout ?? other, 'data');
  return other;
}

describe.skipIf(!hasFlock)('the file of a store', () => {
  it('is refused while another process has it, and its size is left alone', async () => {
    await lockElsewhere('-x');
    const opening = FileStore.open({ path, sizeBytes: 8192, blockBytes: 512, readOnly: false });
    await expect(opening).rejects.toThrow(/disk is in use by another program.*stop that one/);
    expect(statSync(path).size).toBe(4096);
  });

  it('is refused under another name of it, too', async () => {
    await lockElsewhere('-x');
    linkSync(path, join(folder, 'alias'));
    await expect(open(join(folder, 'alias'))).rejects.toThrow(/in use by another program/);
  });

  it('can be had once the other process was killed', async () => {
    const holder = await lockElsewhere('-x');
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await (await open()).close();
  });

  it('is locked for as long as the store is open', async () => {
    const store = await open();
    const tryIt = () => spawnSync('flock', ['-n', path, 'true']).status;
    expect(tryIt()).toBe(1);
    await store.close();
    expect(tryIt()).toBe(0);
  });

  it('may be read by several, and written by none of them', async () => {
    await lockElsewhere('-s');
    await (await open(path, true)).close();
    await expect(open()).rejects.toThrow(/in use by another program/);
  });

  it('is not locked any more when opening it fails', async () => {
    await expect(
      FileStore.open({ path, sizeBytes: 512, blockBytes: 512, readOnly: false }),
    ).rejects.toThrow(/more than the requested 512/);
    expect(spawnSync('flock', ['-n', path, 'true']).status).toBe(0);
  });
});

describe('where there is no flock', () => {
  it('a file cannot be locked, and that is said', async () => {
    vi.stubEnv('PATH', folder);
    const fd = openSync(path, 'r+');
    expect(await lockFile(fd, { shared: false })).toMatchObject({
      type: 'unknown',
      reason: expect.stringContaining('ENOENT') as string,
    });
    closeSync(fd);
    const warn = vi.fn();
    const store = await FileStore.open({ path, sizeBytes: null, blockBytes: 512, readOnly: true }, {
      warn,
      info: vi.fn(),
    } as never);
    expect(warn).toHaveBeenCalledWith(
      expect.objectContaining({ path }),
      expect.stringMatching(/cannot be locked/),
    );
    await store.close();
  });
});
