// npm start: installs and builds what is missing, then serves (npm start -- --export …, as `iser-nbd serve`).
import { build, installDependencies } from './prepare.mjs';

installDependencies();
build();
process.argv.splice(2, 0, 'serve');
await import('../dist/cli/main.js');
