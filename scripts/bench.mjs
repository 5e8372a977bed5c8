// npm run bench: builds what is missing, the benchmark included, and runs it (npm run bench -- --help).
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { build, installDependencies, root, run } from './prepare.mjs';

installDependencies();
build();
run(process.execPath, [
  join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
  '-p',
  'tsconfig.bench.json',
]);

const main = join(root, '.cache', 'bench', 'bench', 'main.js');
const child = spawn(process.execPath, ['--expose-gc', main, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
// Ctrl-C reaches the benchmark as well, which ends its servers first.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT') child.kill(signal);
  });
}
child.on('exit', (status) => process.exit(status ?? 1));
