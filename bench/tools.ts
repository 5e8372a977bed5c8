/** The programs of others that a run needs. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

interface Tool {
  readonly package: string;
  readonly isThere: () => boolean;
}

const FIO: Tool = { package: 'fio', isThere: () => isProgram('fio') };
const PEER_TOOLS: Readonly<Record<string, readonly Tool[]>> = {
  nbdkit: [{ package: 'nbdkit', isThere: () => isProgram('nbdkit') }],
  'qemu-tgt': [
    { package: 'qemu-utils', isThere: () => isProgram('qemu-nbd') },
    // qemu-nbd loads its iSCSI driver, libiscsi, from here.
    { package: 'qemu-block-extra', isThere: hasQemuIscsi },
    { package: 'tgt', isThere: () => isProgram('tgtd') && isProgram('tgtadm') },
  ],
};

/**
 * Installs what is missing for these contestants where that is possible.
 * @returns the packages that are still missing.
 */
export function provideTools(contestants: readonly string[]): readonly string[] {
  const needed = [FIO, ...contestants.flatMap((name) => PEER_TOOLS[name] ?? [])];
  const missing = () => needed.filter(({ isThere }) => !isThere()).map((tool) => tool.package);
  const packages = missing();
  if (packages.length === 0 || process.getuid?.() !== 0 || !isProgram('apt-get')) return packages;
  console.log(`installing ${packages.join(' ')}`);
  const options = {
    stdio: ['ignore', 'ignore', 'inherit'] as ('ignore' | 'inherit')[],
    // Installing tgt would otherwise start its service, on the iSCSI port.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  };
  const install = ['install', '-y', '-q', '--no-install-recommends', ...packages];
  spawnSync('apt-get', ['update', '-q'], options);
  spawnSync('apt-get', install, options);
  return missing();
}

/** Whether fio was built with libnbd; Debian's is. */
export function fioHasNbd(): boolean {
  return spawnSync('fio', ['--enghelp=nbd'], { stdio: 'ignore' }).status === 0;
}

/** The first line of what `NAME --version` prints. */
export function versionOf(name: string, flag = '--version'): string {
  const { stdout } = spawnSync(name, [flag], { encoding: 'utf8' });
  return (stdout ?? '').split('\n')[0]?.trim() ?? '';
}

function isProgram(name: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0;
}

function hasQemuIscsi(): boolean {
  const folders = [
    '/usr/lib/x86_64-linux-gnu/qemu',
    '/usr/lib/aarch64-linux-gnu/qemu',
    '/usr/lib/qemu',
  ];
  return folders.some((folder) => existsSync(`${folder}/block-iscsi.so`));
}
