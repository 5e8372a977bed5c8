import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, it } from 'vitest';

/**
 * Runs one input, and throws when something is wrong.
 * @returns what happened, in words of the target's own: the corpus was chosen by what it makes happen.
 */
export type FuzzTarget = (input: Uint8Array) => Promise<ReadonlySet<string>>;

/** How many random inputs a run has: few among the unit tests, as many as wanted with `npm run fuzz`. */
const RUNS = Number(process.env['ISER_NBD_FUZZ_RUNS'] ?? 300);
/** The same among the unit tests every time; `npm run fuzz` draws one and prints it. */
const SEED = Number(process.env['ISER_NBD_FUZZ_SEED'] ?? 1);
const INPUT_BYTES_MAX = 400;
/** An input takes about a millisecond; one that hangs is found by this. */
const TIMEOUT_MS = 60_000 + RUNS * 20;

/**
 * Declares the tests of a fuzz target: the corpus, which holds an input for each thing that is worth trying every
 * time and each bug that was found; then random inputs, and mutations of the corpus. fast-check prints its seed and
 * the smallest failing input, and `npm run fuzz` keeps that input.
 */
export function declareFuzz(name: string, target: FuzzTarget): void {
  const folder = fileURLToPath(new URL(`corpus/${name}/`, import.meta.url));
  mkdirSync(folder, { recursive: true });
  const files = readdirSync(folder).filter((file) => file.endsWith('.hex'));
  const corpus = files.map((file) =>
    Buffer.from(readFileSync(folder + file, 'latin1').replace(/\s/g, ''), 'hex'),
  );

  describe(`fuzzing ${name}`, () => {
    it.each(files)('passes %s of the corpus', async (file) => {
      await target(corpus[files.indexOf(file)] ?? Buffer.alloc(0));
    });

    it(
      `passes ${RUNS} random inputs`,
      async () => {
        const result = await fc.check(
          fc.asyncProperty(inputs(corpus), async (input) => {
            await target(input);
          }),
          { numRuns: RUNS, seed: SEED },
        );
        if (!result.failed) return;
        const [input] = result.counterexample ?? [];
        if (input !== undefined && process.env['ISER_NBD_FUZZ_RUNS'] !== undefined) {
          keep(folder, input);
        }
        const { errorInstance: cause } = result;
        throw new Error(fc.defaultReportMessage(result) ?? 'failed', { cause });
      },
      TIMEOUT_MS,
    );
  });
}

/** Bytes from nowhere, or an input of the corpus with some of its bytes overwritten, cut out or put in. */
function inputs(corpus: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const random = fc.uint8Array({ maxLength: INPUT_BYTES_MAX, size: 'max' });
  if (corpus.length === 0) return random;
  const change = fc.record({
    at: fc.nat(INPUT_BYTES_MAX),
    removed: fc.nat(4),
    added: fc.uint8Array({ maxLength: 4 }),
  });
  const mutation = fc
    .tuple(fc.constantFrom(...corpus), fc.array(change, { minLength: 1, maxLength: 6 }))
    .map(([base, changes]) => {
      const bytes = [...base];
      for (const { at, removed, added } of changes) {
        bytes.splice(at % (bytes.length + 1), removed, ...added);
      }
      return Uint8Array.from(bytes);
    });
  return fc.oneof(random, mutation);
}

function keep(folder: string, input: Uint8Array): void {
  const hex = Buffer.from(input).toString('hex');
  const name = createHash('sha256').update(input).digest('hex').slice(0, 12);
  writeFileSync(`${folder}found-${name}.hex`, `${hex.replace(/(.{64})/g, '$1\n')}\n`);
}
