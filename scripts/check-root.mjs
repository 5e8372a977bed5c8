// Files at the root of the checkout are listed here, each with a purpose. Any other was left there by a program or by
// mistake: tests and benchmarks write into folders of their own.
import { readdirSync } from 'node:fs';
import { root } from './prepare.mjs';

const LISTED = new Set([
  ...['.containerignore', '.dependency-cruiser.cjs', '.editorconfig', '.gitignore', '.npmrc'],
  ...['.nvmrc', '.prettierignore', '.prettierrc.json', 'CHANGELOG.md', 'CONTRIBUTING.md'],
  ...['LICENSE', 'README.md', 'SECURITY.md', 'eslint.config.js', 'knip.json'],
  ...['package-lock.json', 'package.json'],
  ...['tsconfig.bench.json', 'tsconfig.build.json', 'tsconfig.json', 'vitest.config.ts'],
  // In a worktree this is a file.
  '.git',
]);

const strangers = readdirSync(root, { withFileTypes: true })
  .filter((entry) => !entry.isDirectory() && !entry.isSymbolicLink())
  .map(({ name }) => name)
  .filter((name) => !LISTED.has(name) && !name.endsWith('.log'));

if (strangers.length > 0) {
  console.error(`not listed in scripts/check-root.mjs: ${strangers.join(' ')}`);
  console.error('remove what a program left behind, or list what belongs at the root');
  process.exit(1);
}
