import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { basename, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Kernel } from './kernel.js';
import { cacheFolder, guestFolder } from './project.js';

/** What the guest needs before it can see the host's files; everything else it loads from there. */
const EARLY_MODULES = [
  'virtio_pci',
  '9pnet_virtio',
  '9p',
  'overlay',
  'virtio_net',
  'virtio_console',
];

const BUSYBOX = '/bin/busybox';

/** Makes the archive that the kernel starts from: busybox, a few modules and `init.sh`. Takes well under a second. */
export async function makeInitramfs(kernel: Kernel): Promise<string> {
  mkdirSync(cacheFolder, { recursive: true });
  const tree = mkdtempSync(join(cacheFolder, 'initramfs-'));
  const partial = `${tree}.img`;
  try {
    for (const folder of ['bin', 'modules', 'dev', 'proc', 'sys', 'host', 'writes', 'root']) {
      mkdirSync(join(tree, folder));
    }
    copyFileSync(BUSYBOX, join(tree, 'bin', 'busybox'));
    copyFileSync(join(guestFolder, 'init.sh'), join(tree, 'init'));
    chmodSync(join(tree, 'init'), 0o755);
    modulesInLoadOrder(kernel.modulesFolder, EARLY_MODULES).forEach((path, index) => {
      const order = String(index).padStart(3, '0');
      copyFileSync(path, join(tree, 'modules', `${order}-${basename(path)}`));
    });
    await archive(tree, partial);
    const path = join(cacheFolder, 'initramfs.img');
    renameSync(partial, path);
    return path;
  } finally {
    rmSync(tree, { recursive: true, force: true });
    rmSync(partial, { force: true });
  }
}

/** The files of the named modules and of all they depend on, dependencies first; what is built in has no file. */
function modulesInLoadOrder(folder: string, names: readonly string[]): string[] {
  const dependencies = new Map<string, string[]>();
  for (const line of readFileSync(join(folder, 'modules.dep'), 'utf8').split('\n')) {
    const [path, needs] = line.split(':');
    if (path !== undefined && needs !== undefined) {
      dependencies.set(path, needs.split(' ').filter(Boolean));
    }
  }
  const moduleName = (path: string) =>
    basename(path)
      .replace(/\.ko.*$/, '')
      .replaceAll('-', '_');
  const ordered = new Set<string>();
  const add = (path: string) => {
    for (const needed of dependencies.get(path) ?? []) add(needed);
    ordered.add(path);
  };
  for (const name of names) {
    const path = [...dependencies.keys()].find((known) => moduleName(known) === name);
    if (path !== undefined) add(path);
  }
  return [...ordered].map((path) => join(folder, path));
}

async function archive(tree: string, path: string): Promise<void> {
  const entries = readdirSync(tree, { recursive: true, withFileTypes: true });
  const names = entries.map((entry) => relative(tree, join(entry.parentPath, entry.name)));
  const cpio = spawn('cpio', ['--quiet', '-o', '-H', 'newc', '-R', '0:0'], {
    cwd: tree,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    cpio.once('error', reject);
    cpio.once('close', resolve);
  });
  cpio.stdin.end(`${names.sort().join('\n')}\n`);
  await pipeline(cpio.stdout, createWriteStream(path));
  const status = await ended;
  if (status !== 0) throw new Error(`cpio ended with ${status}`);
}
