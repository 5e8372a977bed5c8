import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadCredentials } from '../../src/gateway/credentials.js';

const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-'));
afterAll(() => rmSync(folder, { recursive: true }));

const NOTHING = { user: null, secretFile: null, mutualUser: null, mutualSecretFile: null };

function secretFile(text: string): string {
  const path = join(folder, `secret-${text.length}`);
  writeFileSync(path, text);
  return path;
}

describe('CHAP credentials', () => {
  it('are none when no user is named', () => {
    expect(loadCredentials(NOTHING, { ISER_NBD_CHAP_SECRET: 'unused-here' })).toBeNull();
  });

  it('come from a file, without its last newline', () => {
    const sources = { ...NOTHING, user: 'bob', secretFile: secretFile('secret with spaces \n') };
    expect(loadCredentials(sources, {})).toEqual({ user: 'bob', secret: 'secret with spaces ' });
  });

  it('come from the environment, and a file goes before it', () => {
    const environment = { ISER_NBD_CHAP_SECRET: 'from-environment' };
    expect(loadCredentials({ ...NOTHING, user: 'bob' }, environment)?.secret).toBe(
      'from-environment',
    );
    const sources = { ...NOTHING, user: 'bob', secretFile: secretFile('from-file') };
    expect(loadCredentials(sources, environment)?.secret).toBe('from-file');
  });

  it('may be mutual', () => {
    const environment = {
      ISER_NBD_CHAP_SECRET: 'ours-ours-ours',
      ISER_NBD_MUTUAL_CHAP_SECRET: 'theirs-theirs',
    };
    expect(loadCredentials({ ...NOTHING, user: 'bob', mutualUser: 'lab' }, environment)).toEqual({
      user: 'bob',
      secret: 'ours-ours-ours',
      mutual: { user: 'lab', secret: 'theirs-theirs' },
    });
  });

  it.each([
    ['a secret without a user', { secretFile: '/x' }, /--chap-user/],
    ['a mutual user without a user', { mutualUser: 'lab' }, /--chap-user/],
    [
      'a mutual secret without its user',
      { user: 'a', mutualSecretFile: '/x' },
      /--mutual-chap-user/,
    ],
    ['no secret', { user: 'a', mutualUser: 'lab' }, /--mutual-chap-secret-file FILE or set ISER/],
    [
      'an unreadable file',
      { user: 'a', secretFile: '/nonexistent' },
      /cannot read the CHAP secret of a/,
    ],
  ])('are refused with %s', (_what, sources, words) => {
    const environment = { ISER_NBD_CHAP_SECRET: 'long-enough-secret' };
    expect(() => loadCredentials({ ...NOTHING, ...sources }, environment)).toThrow(words);
  });

  it('are refused when both sides have the same secret, which is not repeated', () => {
    const environment = {
      ISER_NBD_CHAP_SECRET: 'same-same-same',
      ISER_NBD_MUTUAL_CHAP_SECRET: 'same-same-same',
    };
    const load = () => loadCredentials({ ...NOTHING, user: 'a', mutualUser: 'b' }, environment);
    expect(load).toThrow(/must differ/);
    expect(load).not.toThrow(/same-same/);
  });
});
