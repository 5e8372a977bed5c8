import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const DOCUMENT = readFileSync(new URL('../../docs/nbd.md', import.meta.url), 'utf8');

describe('docs/nbd.md', () => {
  it('names tests that exist', () => {
    const proofs = [...DOCUMENT.matchAll(/`([^`]+\.test\.ts)` “((?:[^”])+)”/g)];
    expect(proofs.length).toBeGreaterThan(100);
    const missing = proofs.filter(([, file = '', title = '']) => {
      const path = fileURLToPath(new URL(file, import.meta.url));
      return !existsSync(path) || !readFileSync(path, 'utf8').includes(title);
    });
    expect(missing.map(([whole]) => whole)).toEqual([]);
  });
});
