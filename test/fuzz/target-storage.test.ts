import { describe, expect, it, onTestFailed } from 'vitest';
import { fuzzStorage } from './target-storage.js';

/** How many commands a run has: few among the unit tests, as many as wanted with `npm run fuzz`. */
const COMMANDS = Number(process.env['ISER_NBD_FUZZ_RUNS'] ?? 400);
const SEED = Number(process.env['ISER_NBD_FUZZ_SEED'] ?? 1);
/** A command takes a few milliseconds at most; one that hangs is found by this. */
const TIMEOUT_MS = 60_000 + COMMANDS * 20;
const SETUPS = {
  'without CRC': { crc: 'off', isOvertaking: false },
  'with CRC': { crc: 'on', isOvertaking: false },
  'over a store that delays and reorders': { crc: 'off', isOvertaking: true },
} as const;

describe('fuzzing target-storage', () => {
  it.each(Object.entries(SETUPS))(
    `reads only what may be there in ${COMMANDS} commands %s`,
    { timeout: TIMEOUT_MS },
    async (_name, setup) => {
      onTestFailed(() => {
        const again = `npm run fuzz -- target-storage --runs ${COMMANDS} --seed ${SEED}`;
        process.stderr.write(`once more with: ${again}\n`);
      });
      const counts = await fuzzStorage({ seed: SEED, commands: COMMANDS, ...setup });
      expect(counts.get('READ done')).toBeGreaterThan(0);
      expect(counts.get('WRITE done')).toBeGreaterThan(0);
    },
  );
});
