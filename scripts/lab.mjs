// npm run lab: a Linux guest with an iSER target, for a person to try things on until Ctrl-C.
import { join } from 'node:path';
import { build, installDependencies, root, run } from './prepare.mjs';

installDependencies();
build();
run(process.execPath, [
  join('node_modules', 'typescript', 'bin', 'tsc'),
  ...['-p', join('test', 'kernel', 'tsconfig.lab.json')],
]);
const { runLab } = await import(join(root, '.cache', 'kernel-lab', 'js', 'hand.js'));
await runLab();
