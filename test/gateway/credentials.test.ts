import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { credentialsFor, loadCredentials } from '../../src/gateway/credentials.js';
import type { CredentialSources } from '../../src/gateway/credentials.js';
import { SecretFiles } from '../../src/gateway/secret-file.js';

const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-'));
afterAll(() => rmSync(folder, { recursive: true }));

const NOTHING = {
  user: null,
  secretFile: null,
  mutualUser: null,
  mutualSecretFile: null,
  algorithms: null,
};

let files = 0;

function secretFile(content: string | Buffer, mode = 0o600): string {
  const path = join(folder, `secret-${++files}`);
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
}

const warnings: string[] = [];
const log = pino({ level: 'warn' }, { write: (line) => void warnings.push(line) });
afterEach(() => void warnings.splice(0));

function load(sources: Partial<CredentialSources>, environment: NodeJS.ProcessEnv = {}) {
  return loadCredentials({ ...NOTHING, ...sources }, { environment, files: new SecretFiles(log) });
}

const secretIn = (content: string | Buffer) =>
  Buffer.from(load({ user: 'bob', secretFile: secretFile(content) })?.secret ?? []);

describe('CHAP credentials', () => {
  it('are none when no user is named', () => {
    expect(load({}, { ISER_NBD_CHAP_SECRET: 'unused-here' })).toBeNull();
  });

  it('come from a file, without its last newline', () => {
    expect(secretIn('secret with spaces \n').toString()).toBe('secret with spaces ');
    expect(secretIn('secret with spaces \r\n').toString()).toBe('secret with spaces ');
    expect(warnings).toEqual([]);
  });

  it('are the bytes of the file, whatever they are', () => {
    const bytes = Buffer.from('9cff80410a9cff800d9cff80419cff8041', 'hex');
    expect(secretIn(bytes)).toEqual(bytes);
    expect(secretIn(Buffer.concat([bytes, Buffer.from('\n')]))).toEqual(bytes);
  });

  it('keep every newline but the last, which is told', () => {
    expect(secretIn('two-lines-ends\n\n').toString()).toBe('two-lines-ends\n');
    expect(warnings.join()).toContain('more than one line end');
    expect(warnings.join()).not.toContain('two-lines');
  });

  it('come from the environment, and a file goes before it', () => {
    const environment = { ISER_NBD_CHAP_SECRET: 'from-environment' };
    expect(load({ user: 'bob' }, environment)?.secret).toEqual(Buffer.from('from-environment'));
    const sources = { user: 'bob', secretFile: secretFile('from-the-file') };
    expect(load(sources, environment)?.secret).toEqual(Buffer.from('from-the-file'));
  });

  it('are told to be readable by others, once for a file', () => {
    const stores = { environment: {}, files: new SecretFiles(log) };
    const sources = { ...NOTHING, user: 'bob', secretFile: secretFile('from-the-file', 0o644) };
    loadCredentials(sources, stores);
    loadCredentials({ ...sources, user: 'eve' }, stores);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('every user of this machine can read');
    load({ user: 'bob', secretFile: secretFile('from-the-file', 0o640) });
    expect(warnings).toHaveLength(1);
  });

  it('are not there for an embedded LUN, but a missing file is a mistake all the same', () => {
    const url = { kind: 'embedded', spec: 'memory:1M' } as const;
    const stores = { environment: {}, files: new SecretFiles(log) };
    expect(credentialsFor(url, NOTHING, stores)).toBeNull();
    for (const name of ['secretFile', 'mutualSecretFile']) {
      const sources = { ...NOTHING, [name]: '/nonexistent' };
      expect(() => credentialsFor(url, sources, stores)).toThrow(/cannot read .*ENOENT/);
    }
  });

  it('may be mutual', () => {
    const environment = {
      ISER_NBD_CHAP_SECRET: 'ours-ours-ours',
      ISER_NBD_MUTUAL_CHAP_SECRET: 'theirs-theirs',
    };
    expect(load({ user: 'bob', mutualUser: 'lab' }, environment)).toEqual({
      user: 'bob',
      secret: Buffer.from('ours-ours-ours'),
      mutual: { user: 'lab', secret: Buffer.from('theirs-theirs') },
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
    [
      'a byte order mark',
      { user: 'a', secretFile: secretFile('\ufefflong-enough-secret') },
      /byte order mark/,
    ],
    ['an empty file', { user: 'a', secretFile: secretFile('\n') }, /is empty/],
    ['11 bytes', { user: 'a', secretFile: secretFile('elevenbytes') }, /11 bytes.* 12 to 255/],
    ['a long file', { user: 'a', secretFile: '/dev/zero' }, /12 to 255/],
  ])('are refused with %s', (_what, sources, words) => {
    const environment = { ISER_NBD_CHAP_SECRET: 'long-enough-secret' };
    expect(() => load(sources, environment)).toThrow(words);
  });

  it('are refused when both sides have the same secret, which is not repeated', () => {
    const environment = {
      ISER_NBD_CHAP_SECRET: 'same-same-same',
      ISER_NBD_MUTUAL_CHAP_SECRET: 'same-same-same',
    };
    const attempt = () => load({ user: 'a', mutualUser: 'b' }, environment);
    expect(attempt).toThrow(/equals the CHAP secret; use two different ones/);
    expect(attempt).not.toThrow(/same-same/);
  });

  it('are refused when the environment holds bytes that node cannot tell apart', () => {
    const environment = { ISER_NBD_CHAP_SECRET: 'long-enough-\ufffd\ufffd' };
    expect(() => load({ user: 'a' }, environment)).toThrow(/not UTF-8.*--chap-secret-file/);
  });
});
