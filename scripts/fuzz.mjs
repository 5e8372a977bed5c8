#!/usr/bin/env node
// npm run fuzz -- TARGET [--runs N] [--seed S]: the same targets that the unit tests run briefly, for as long as wanted.
// A failing input is kept in the corpus of a target that has one, so that the unit tests try it from then on.
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'test', 'fuzz');
const targets = readdirSync(folder)
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => file.slice(0, -'.test.ts'.length));

function fail(message) {
  process.stderr.write(`fuzz: ${message}\nusage: npm run fuzz -- TARGET [--runs N] [--seed S]\n`);
  process.stderr.write(`targets: ${targets.join(', ')}\n`);
  process.exit(2);
}

let values, positionals;
try {
  ({ values, positionals } = parseArgs({
    allowPositionals: true,
    options: { runs: { type: 'string', default: '100000' }, seed: { type: 'string' } },
  }));
} catch (error) {
  fail(error.message);
}
const [target] = positionals;
if (target === undefined || !targets.includes(target)) fail('name one target');
if (!/^[1-9]\d*$/.test(values.runs)) fail('--runs takes a number');
if (values.seed !== undefined && !/^-?\d+$/.test(values.seed)) fail('--seed takes a number');
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
if (!existsSync(vitest)) fail('run npm install first');

const { runs, seed = String(randomInt(1_000_000_000)) } = values;
console.log(`npm run fuzz -- ${target} --runs ${runs} --seed ${seed}`);
const env = { ...process.env, ISER_NBD_FUZZ_RUNS: runs, ISER_NBD_FUZZ_SEED: seed };
const args = [vitest, 'run', '--project', 'unit', join('test', 'fuzz', `${target}.test.ts`)];
process.exit(spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' }).status ?? 1);
