import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { hostCommand, mustRunOnHost } from './host-command.js';
import { installPackages, isRoot, updatePackageLists } from './packages.js';
import { cacheFolder } from './project.js';

/** An unpacked Debian kernel with the siw module that Debian does not build. */
export interface Kernel {
  /** What `uname -r` says, such as 6.1.0-50-amd64. */
  readonly release: string;
  /** The package's version, such as 6.1.176-1. */
  readonly version: string;
  readonly image: string;
  /** The folder to find as /lib/modules/RELEASE in the guest. */
  readonly modulesFolder: string;
}

interface Candidate {
  readonly release: string;
  readonly version: string;
}

const ARCHIVES = 'archives';
const MANIFEST = 'kernel.json';
/** Ends the name of a folder that is still being made. */
const PARTIAL = '.partial';

/**
 * The kernel of this Debian's newest kernel package, from the cache or downloaded and built into it. A newer package
 * replaces the cached one. Nothing of it is installed but the kernel headers, which are needed to build siw.
 */
export async function prepareKernel(say: (line: string) => void): Promise<Kernel> {
  const cached = cachedKernel();
  const wanted = (await candidate()) ?? (await candidateAfterUpdate());
  if (wanted === null) {
    if (cached !== null) return cached;
    throw new Error('no kernel package is known to apt: its lists are empty and cannot be fetched');
  }
  const folder = join(cacheFolder, wanted.version);
  if (existsSync(join(folder, MANIFEST))) return kernelIn(folder);
  if (!isRoot()) {
    if (cached !== null) return cached;
    throw new Error('preparing a kernel needs root, to install its headers');
  }
  await updatePackageLists();
  const fresh = (await candidate()) ?? wanted;
  say(`preparing kernel ${fresh.release} (${fresh.version}), once`);
  await build(fresh, join(cacheFolder, fresh.version));
  return kernelIn(join(cacheFolder, fresh.version));
}

function kernelIn(folder: string): Kernel {
  const manifest = JSON.parse(readFileSync(join(folder, MANIFEST), 'utf8')) as Candidate;
  return {
    ...manifest,
    image: join(folder, 'boot', `vmlinuz-${manifest.release}`),
    modulesFolder: join(folder, 'lib', 'modules', manifest.release),
  };
}

/** There is one; a new kernel replaces it. */
function cachedKernel(): Kernel | null {
  const [folder] = cachedFolders();
  return folder === undefined ? null : kernelIn(folder);
}

function cachedFolders(): string[] {
  if (!existsSync(cacheFolder)) return [];
  return readdirSync(cacheFolder)
    .filter((name) => !name.endsWith(PARTIAL))
    .map((name) => join(cacheFolder, name))
    .filter((folder) => existsSync(join(folder, MANIFEST)));
}

/** The kernel that linux-image-amd64 stands for; null where apt knows none. */
async function candidate(): Promise<Candidate | null> {
  const { stdout } = await hostCommand('apt-cache', ['show', 'linux-image-amd64']);
  const depends = /^Depends: linux-image-(\S+) \(= ([^)]+)\)/m.exec(stdout);
  const [, release, version] = depends ?? [];
  return release === undefined || version === undefined ? null : { release, version };
}

async function candidateAfterUpdate(): Promise<Candidate | null> {
  if (!isRoot()) return null;
  await updatePackageLists();
  return candidate();
}

async function build({ release, version }: Candidate, folder: string): Promise<void> {
  const work = `${folder}${PARTIAL}`;
  const archives = join(work, ARCHIVES);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(archives, { recursive: true });
  const series = /^\d+\.\d+/.exec(version)?.[0] ?? version;
  await installPackages([`linux-headers-${release}=${version}`]);
  await mustRunOnHost(
    'apt-get',
    ['download', '-q', `linux-image-${release}=${version}`, `linux-source-${series}=${version}`],
    { cwd: archives },
  );
  await mustRunOnHost('dpkg-deb', ['-x', archive(archives, 'linux-image-'), work]);
  await mustRunOnHost('dpkg-deb', ['-x', archive(archives, 'linux-source-'), archives]);
  await buildSiw({ release, series, work });
  await mustRunOnHost('depmod', ['-b', work, release]);
  rmSync(archives, { recursive: true });
  writeFileSync(join(work, MANIFEST), `${JSON.stringify({ release, version })}\n`);
  for (const old of cachedFolders()) rmSync(old, { recursive: true, force: true });
  renameSync(work, folder);
}

/** Debian leaves CONFIG_RDMA_SIW off, so soft-iWARP is built from the source of the same version. */
async function buildSiw(at: { release: string; series: string; work: string }): Promise<void> {
  const tree = `linux-source-${at.series}`;
  const source = join(at.work, ARCHIVES, 'usr', 'src', `${tree}.tar.xz`);
  const siw = join(tree, 'drivers', 'infiniband', 'sw', 'siw');
  await mustRunOnHost('tar', ['-xJf', source, '-C', join(at.work, ARCHIVES), siw]);
  const module = join(at.work, ARCHIVES, siw);
  await mustRunOnHost('make', [
    ...['-C', `/usr/src/linux-headers-${at.release}`, `M=${module}`],
    ...['CONFIG_RDMA_SIW=m', 'modules'],
  ]);
  const extra = join(at.work, 'lib', 'modules', at.release, 'extra');
  mkdirSync(extra, { recursive: true });
  cpSync(join(module, 'siw.ko'), join(extra, 'siw.ko'));
}

function archive(folder: string, prefix: string): string {
  const name = readdirSync(folder).find((entry) => entry.startsWith(prefix));
  if (name === undefined) throw new Error(`apt-get downloaded no ${prefix}*.deb`);
  return join(folder, name);
}
