// Brings a checkout to where it can run: dependencies as the lock file has them, and the compiled program.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a command in the checkout; a failure ends this process with the command's status. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.error) {
    console.error(`cannot run ${command}: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** `npm ci`, unless what is installed is at least as new as the lock file. */
export function installDependencies() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (
    existsSync(installed) &&
    modifiedMs(installed) >= modifiedMs(join(root, 'package-lock.json'))
  ) {
    return;
  }
  const folder = join(root, 'node_modules');
  if (existsSync(folder) && lstatSync(folder).isSymbolicLink()) {
    console.error(
      'node_modules is a link, and installing would empty the folder behind it: remove the link first',
    );
    process.exit(1);
  }
  console.error('installing dependencies');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** Compiles, unless the program is newer than every source. */
export function build() {
  const program = join(root, 'dist', 'cli', 'main.js');
  if (existsSync(program) && modifiedMs(program) >= newestSourceMs(join(root, 'src'))) return;
  console.error('building');
  run('npm', ['run', '--silent', 'build']);
}

function newestSourceMs(folder) {
  let newest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    newest = Math.max(newest, entry.isDirectory() ? newestSourceMs(path) : modifiedMs(path));
  }
  return newest;
}

function modifiedMs(path) {
  return statSync(path).mtimeMs;
}
