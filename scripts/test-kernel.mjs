// npm run test:kernel [-- FILTER...]: our program against Linux kernels in virtual machines.
import { join } from 'node:path';
import { build, installDependencies, run } from './prepare.mjs';

installDependencies();
build();
run(join('node_modules', '.bin', 'vitest'), [
  ...['run', '--project', 'kernel', ...process.argv.slice(2)],
]);
