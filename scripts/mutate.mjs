// npm run mutate [-- WORDS]: breaks the sources as mutations.mjs says, one mutation at a time and in a copy, and runs the unit
// tests that should notice. Fails when a mutation survives that is not judged to be harmless, when one is noticed that is
// said to survive, and before anything else when an anchor is gone: a mutation that is not made tests nothing.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { MUTATIONS } from './mutations.mjs';
import { root } from './prepare.mjs';

/** A mutation may make a test wait for ever, which is one way to notice. */
const TIMEOUT_MS = 180_000;
const LEFT_OUT = new Set(['node_modules', '.git', '.cache', 'dist', 'coverage']);

const words = process.argv.slice(2);
const chosen = MUTATIONS.filter(({ what, file }) =>
  words.every((word) => `${what} ${file}`.includes(word)),
);
const sources = filesUnder('src');
const tests = filesUnder('test');
const plans = chosen.map(planOf);
const broken = plans.flatMap(({ problems }) => problems);
if (plans.length === 0) broken.push(`no mutation has ${words.join(' ')} in its name`);
if (broken.length > 0) {
  for (const problem of broken) console.error(`mutate: ${problem}`);
  console.error('mutate: nothing was run; put scripts/mutations.mjs right');
  process.exit(2);
}

const copy = mkdtempSync(join(tmpdir(), 'iser-nbd-mutate-'));
try {
  for (const name of readdirSync(root).filter((name) => !LEFT_OUT.has(name))) {
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  process.exitCode = run() ? 0 : 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}

function run() {
  const all = [...new Set(plans.flatMap(({ tests }) => tests))];
  console.log(`${all.length} test files, without a mutation`);
  const before = runTests(all);
  if (!before.passed) {
    console.error(before.output);
    console.error('mutate: the tests fail as they are');
    return false;
  }
  const surprises = [];
  for (const plan of plans) {
    const { survives, what } = plan;
    const { passed, hangs } = tryMutation(plan);
    const result = passed ? 'SURVIVED' : hangs ? 'noticed, by waiting' : 'noticed';
    console.log(
      `${result.padEnd(20)} ${what} (${plan.source})${passed && survives ? `: ${survives}` : ''}`,
    );
    if (passed && survives === null) surprises.push(`survives: ${what}`);
    if (!passed && survives !== null) surprises.push(`said to survive, and noticed: ${what}`);
  }
  console.log(`${plans.length} mutations, ${surprises.length} not as expected`);
  for (const surprise of surprises) console.error(`mutate: ${surprise}`);
  return surprises.length === 0;
}

function tryMutation({ source, from, to, tests }) {
  const path = join(copy, source);
  const original = readFileSync(path, 'utf8');
  writeFileSync(
    path,
    original.replace(from, () => to),
  );
  try {
    return runTests(tests);
  } finally {
    writeFileSync(path, original);
  }
}

function runTests(files) {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--project', 'unit', '--bail', '1', '--reporter', 'dot', ...files];
  const result = spawnSync(process.execPath, args, {
    cwd: copy,
    encoding: 'utf8',
    timeout: TIMEOUT_MS + files.length * 10_000,
    killSignal: 'SIGKILL',
  });
  const output = `${result.stdout}${result.stderr}`;
  // Without this, files that vitest cannot load or find would look like a test that notices.
  const ran = /Tests {2}.*\b(\d+) (passed|failed)/.test(output.replace(/\u001b\[[0-9;]*m/g, ''));
  const hangs = result.error?.code === 'ETIMEDOUT';
  if (!ran && !hangs) throw new Error(`no test was run:\n${output}`);
  return { passed: result.status === 0, hangs, output };
}

/** Where the mutation is made, and what is wrong with it. */
function planOf(mutation) {
  const { what, file, from } = mutation;
  const named = sources.filter((path) => basename(path) === file);
  const counts = named.map((path) => readFileSync(join(root, path), 'utf8').split(from).length - 1);
  const places = counts.reduce((sum, count) => sum + count, 0);
  const problems = [];
  if (named.length === 0) problems.push(`"${what}": no source file is called ${file}`);
  else if (places !== 1) {
    problems.push(`"${what}": its anchor is ${places} times in ${named.join(', ')}: ${from}`);
  }
  const found = mutation.tests.map((name) => {
    const matches = tests.filter((path) => path.endsWith(`/${name}`));
    if (matches.length !== 1)
      problems.push(`"${what}": ${matches.length} tests are called ${name}`);
    return matches[0];
  });
  return { ...mutation, source: named[counts.indexOf(1)], tests: found, problems };
}

function filesUnder(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)));
}
