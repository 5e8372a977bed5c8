import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostCommand, mustRunOnHost } from './host-command.js';

/** A program that shows that a Debian package is there, and the package. */
const PACKAGES: readonly (readonly [program: string, name: string])[] = [
  // The guest: emulator, initramfs, kernel modules.
  ['qemu-system-x86_64', 'qemu-system-x86'],
  ['busybox', 'busybox-static'],
  ['cpio', 'cpio'],
  ['depmod', 'kmod'],
  ['make', 'make'],
  ['gcc', 'gcc'],
  ['xz', 'xz-utils'],
  ['setpriv', 'util-linux'],
  // What runs in the guest, which sees the host's programs.
  ['ip', 'iproute2'],
  ['rdma', 'iproute2'],
  ['iscsiadm', 'open-iscsi'],
  ['nbd-client', 'nbd-client'],
  ['mkfs.ext4', 'e2fsprogs'],
  ['mkfs.xfs', 'xfsprogs'],
  ['xfs_repair', 'xfsprogs'],
  ['sfdisk', 'fdisk'],
  ['sg_inq', 'sg3-utils'],
  ['iscsi-test-cu', 'libiscsi-bin'],
  ['fio', 'fio'],
  // Clients on the host, and the judge of the wire.
  ['nbdcopy', 'libnbd-bin'],
  ['qemu-io', 'qemu-utils'],
  ['tshark', 'tshark'],
];

const SEARCHED = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];

export const isRoot = () => process.getuid?.() === 0;

/** Why this machine can never host the lab, or null. */
export function unsuitableHost(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `it needs Debian on x86-64, this is ${process.platform} on ${process.arch}`;
  }
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  if (!/^ID=debian$/m.test(release) || !isInstalled('apt-get')) return 'it needs Debian';
  return null;
}

/** The packages that are not there. */
export function missingPackages(): string[] {
  const missing = PACKAGES.filter(([program]) => !isInstalled(program)).map(([, name]) => name);
  return [...new Set(missing)];
}

/** Installs packages, each `name` or `name=version`; needs root. */
export async function installPackages(names: readonly string[]): Promise<void> {
  await updatePackageLists();
  await mustRunOnHost(
    'apt-get',
    [
      ...['install', '-y', '-q', '--no-install-recommends'],
      ...['-o', 'DPkg::Lock::Timeout=300', ...names],
    ],
    { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' } },
  );
}

let listsAreFresh = false;

/** Once per process; an unreachable mirror shows itself when a package is asked for. */
export async function updatePackageLists(): Promise<void> {
  if (listsAreFresh) return;
  await hostCommand('apt-get', ['update', '-q']);
  listsAreFresh = true;
}

function isInstalled(program: string): boolean {
  return SEARCHED.some((folder) => isExecutable(join(folder, program)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
