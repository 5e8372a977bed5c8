import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const AT_ROOT = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md'];

const documents = [
  ...AT_ROOT,
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

const textOf = (document: string): string => readFileSync(join(ROOT, document), 'utf8');

/** What is between back quotes on a line, fenced examples aside. */
function codeIn(text: string): string[] {
  const prose = text.replace(/^( *)```[^]*?^\1```/gm, '');
  return [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');
}

/**
 * A source's path: relative to the root, to src, or to the folder that the document is about. Other names with such an
 * ending are those of users' files.
 */
function isThere(path: string, bases: readonly string[]): boolean {
  return bases.some((base) => existsSync(join(ROOT, base, path)));
}

describe('the documents', () => {
  it.each(documents)('%s links to what exists', (document) => {
    const targets = [...textOf(document).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map((match) => match[1] ?? '')
      .filter((target) => !/^[a-z]+:/.test(target));
    const missing = targets.filter(
      (target) => !existsSync(join(ROOT, normalize(join(dirname(document), target)))),
    );
    expect(missing).toEqual([]);
  });

  it.each(documents)('%s names files of the project that exist', (document) => {
    const bases = document === 'docs/nbd.md' ? ['', 'src', 'test/nbd'] : ['', 'src'];
    const paths = codeIn(textOf(document)).filter(
      (code) =>
        /^[\w@./-]*\w\.(?:ts|mjs|cjs|lua)$/.test(code) ||
        /^(?:src|test|bench|docs|scripts|deploy)\/[\w./-]+$/.test(code),
    );
    // A document about interop names its test files by their folder once.
    const more = document === 'docs/interop.md' ? ['test/interop'] : [];
    // "Its limits.ts" is one of any folder.
    const anyFolder = new Set(['wire.ts', 'limits.ts', 'errors.ts']);
    const missing = paths.filter(
      (path) => !anyFolder.has(path) && !isThere(path, [...bases, ...more]),
    );
    expect(missing).toEqual([]);
  });

  it('are all linked from the README', () => {
    const readme = textOf('README.md');
    const own = documents.filter((name) => name.startsWith('docs/') && dirname(name) === 'docs');
    const decisions = ['docs/decisions'];
    expect([...own, ...decisions].filter((name) => !readme.includes(`(${name}`))).toEqual([]);
  });
});

describe('docs/architecture.md', () => {
  const text = textOf('docs/architecture.md');

  it('has a row for each folder of the import rule', () => {
    const rows = [...text.matchAll(/^\| `([\w/]+)` +\|/gm)].map((match) => match[1] ?? '');
    const folders = readdirSync(join(ROOT, 'src')).flatMap((name) =>
      name === 'target' ? ['target/session', 'target/unit'] : [name],
    );
    expect([...rows].sort()).toEqual(expect.arrayContaining([...folders].sort()));
  });
});
