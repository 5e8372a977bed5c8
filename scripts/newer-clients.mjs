// NBD clients that are newer than the distribution's: Debian 13's, unpacked under .cache for the interop tests. They run on
// any Debian as they are, by their own dynamic linker and libraries, without chroot, mounts or privileges.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './prepare.mjs';

const SUITE = 'trixie';
const PACKAGES = ['qemu-utils', 'libnbd-bin', 'python3-libnbd', 'nbdkit'];
/** Where the tests look for them: one wrapper for each program. */
const PROGRAMS = [
  ...['qemu-img', 'qemu-io', 'qemu-nbd', 'qemu-storage-daemon'],
  ...['nbdinfo', 'nbdcopy', 'nbdkit', 'python3'],
];
const PLUGIN = 'nbdkit-nbd-plugin.so';
const folder = join(root, '.cache', 'debian-13');
/** Which build it is; another list or another way is another build. */
const BUILD = `2 ${SUITE} ${PACKAGES.join(' ')}\n`;

/** Unpacks them where they are not there yet: some ten seconds, 130 MB. Says in a line why not, if it cannot. */
export function prepareNewerClients() {
  if (isBuilt()) return;
  const why = build();
  if (why !== null)
    console.log(`not unpacked, so that their tests are skipped: Debian 13's NBD clients (${why})`);
}

function isBuilt() {
  const stamp = join(folder, 'build');
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === BUILD;
}

/** Returns what is missing, or null. */
function build() {
  if (process.platform !== 'linux' || !existsSync('/etc/debian_version'))
    return 'this is no Debian';
  if (run('mmdebstrap', ['--version']).status !== 0) return 'not installed: mmdebstrap';
  console.log("unpacking Debian 13's NBD clients");
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(join(part, 'bin'), { recursive: true });
  try {
    const { status, stderr } = unpack(join(part, 'root'));
    if (status !== 0) return stderr.split('\n').find((line) => /^E:/.test(line)) ?? stderr.trim();
    for (const program of PROGRAMS) writeWrapper(part, program);
    linkPlugin(part);
    writeFileSync(join(part, 'build'), BUILD);
    const tried = run(join(part, 'bin', 'nbdinfo'), ['--version']);
    if (tried.status !== 0) return `they do not run here: ${tried.stderr.trim()}`;
    rmSync(folder, { recursive: true, force: true });
    renameSync(part, folder);
    return null;
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}

/** The packages and what they need, unpacked and not configured; of maintainer scripts, none is run. */
function unpack(target) {
  return run('mmdebstrap', [
    ...['--mode=chrootless', '--variant=extract', '--format=directory'],
    `--include=${PACKAGES.join(',')}`,
    ...aptOptions().map((option) => `--aptopt=${option}`),
    ...[SUITE, target, ...mirror()],
  ]);
}

/** How this machine's apt gets at its mirror. */
function aptOptions() {
  const { stdout } = run('apt-config', ['dump', '--no-empty', 'Acquire']);
  return stdout
    .split('\n')
    .filter((line) => /^Acquire::(https?|Check|Retries|ForceIPv)/.test(line));
}

/** The mirror that this machine has its Debian from; none, which is the usual one, when that cannot be known. */
function mirror() {
  const filter = ['Created-By: Packages', 'Origin: Debian', 'Label: Debian'];
  const { stdout } = run('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filter]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .slice(0, 1);
}

function writeWrapper(part, program) {
  const usr = join(part, 'root', 'usr');
  const triplet = only(join(usr, 'lib'), /-linux-gnu/);
  const loaderFolder = existsSync(join(usr, 'lib64')) ? 'lib64' : 'lib';
  const loader = only(join(usr, loaderFolder), /^ld-linux/);
  const lines = [
    '#!/bin/sh',
    'usr="${0%/*}/../root/usr"',
    ...(program === 'python3'
      ? ['PYTHONHOME="$usr" PYTHONDONTWRITEBYTECODE=1', 'export PYTHONHOME PYTHONDONTWRITEBYTECODE']
      : []),
    `exec "$usr/${loaderFolder}/${loader}" --inhibit-cache --library-path "$usr/lib/${triplet}" "$usr/bin/${program}" "$@"`,
  ];
  const path = join(part, 'bin', program);
  writeFileSync(path, `${lines.join('\n')}\n`);
  chmodSync(path, 0o755);
}

/** nbdkit looks for its plugins where they are installed; another one is given by its path. */
function linkPlugin(part) {
  const lib = join('root', 'usr', 'lib');
  const file = join(lib, only(join(part, lib), /-linux-gnu/), 'nbdkit', 'plugins', PLUGIN);
  symlinkSync(join('..', file), join(part, 'bin', PLUGIN));
}

function only(inside, pattern) {
  const found = readdirSync(inside).find((name) => pattern.test(name));
  if (found === undefined) throw new Error(`nothing in ${inside} matches ${pattern}`);
  return found;
}

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  return { status, stdout: stdout ?? '', stderr: stderr ?? String(error) };
}
