// npm test: every check that this machine can run. Installs what it needs: npm packages always, the Debian packages of
// the interop clients when it is root, newer ones under .cache; without them those tests say that they are skipped.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { prepareNewerClients } from './newer-clients.mjs';
import { build, installDependencies, root } from './prepare.mjs';

/** The program that shows a package is there, and the package. */
const CLIENTS = [
  ['nbdinfo', 'libnbd-bin'],
  ['qemu-io', 'qemu-utils'],
  ['fio', 'fio'],
  ['certtool', 'gnutls-bin'],
  ['nbdsh', 'python3-libnbd'],
  ['mmdebstrap', 'mmdebstrap'],
  ['ip', 'iproute2'],
  ['nbd-client', 'nbd-client'],
  ['systemd-analyze', 'systemd'],
  ['systemd-socket-activate', 'systemd'],
  // What the units' ExecReload runs.
  ['/bin/kill', 'procps'],
  ['zsh', 'zsh'],
  ['mandoc', 'mandoc'],
  ['groff', 'groff-base'],
];

const bin = (name) => join('node_modules', '.bin', name);

const STEPS = [
  ['format', bin('prettier'), ['--check', '--log-level', 'warn', '.']],
  ['lint', bin('eslint'), ['.', '--max-warnings', '0']],
  ['types', bin('tsc'), ['-p', 'tsconfig.json', '--noEmit']],
  ['import rule', bin('depcruise'), ['--config', '.dependency-cruiser.cjs', 'src']],
  ['unused', bin('knip'), []],
  ['unused in the product', bin('knip'), ['--production']],
  ['unit', bin('vitest'), ['run', '--project', 'unit']],
  ['interop', bin('vitest'), ['run', '--project', 'interop']],
  // Last, so that it sees what the tests leave behind.
  ['files at the root', process.execPath, [join('scripts', 'check-root.mjs')]],
];

installDependencies();
installClients();
prepareNewerClients();
build();

const failed = [];
for (const [name, command, args] of STEPS) {
  console.log(`\n== ${name}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) failed.push(name);
}

console.log(`\n== summary`);
for (const [name] of STEPS) console.log(`${failed.includes(name) ? 'FAILED' : 'passed'}  ${name}`);
console.log(`${STEPS.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 ? 0 : 1);

function installClients() {
  const names = CLIENTS.filter(([program]) => !isInstalled(program)).map(([, name]) => name);
  const missing = [...new Set(names)];
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0 || !isInstalled('apt-get')) {
    console.log(`not installed, and not root on Debian to install: ${missing.join(' ')}`);
    return;
  }
  console.log(`installing ${missing.join(' ')}`);
  const options = {
    stdio: ['ignore', 'ignore', 'inherit'],
    // A package that has a service must not start it.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  };
  spawnSync('apt-get', ['update', '-q'], options);
  spawnSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], options);
}

function isInstalled(program) {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;
}
