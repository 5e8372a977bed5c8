/** The package as its users get it: packed, installed elsewhere, and run there. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { withCommands } from '../../src/cli/commands.js';
import { commandDefinitions } from '../../src/cli/definitions.js';
import { command, haveTools, mustRun, temporaryFolder } from './program.js';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
/** What is no part of a checkout, or is made again. */
const LEFT_OUT = new Set(['node_modules', 'dist', 'man', '.cache', '.git', 'coverage']);

const folder = temporaryFolder();
const user = folder.path('user');
const running: { child: ChildProcess; ended: Promise<void> }[] = [];

beforeAll(async () => {
  // Packing builds anew, and other tests need the checkout's own build.
  const copy = folder.path('checkout');
  cpSync(CHECKOUT, copy, { recursive: true, filter: (path) => !LEFT_OUT.has(basename(path)) });
  symlinkSync(join(CHECKOUT, 'node_modules'), join(copy, 'node_modules'));
  const packed = await mustRun(
    'npm',
    'pack',
    copy,
    '--silent',
    '--pack-destination',
    folder.path('.'),
  );
  const tarball = packed.trim().split('\n').at(-1) ?? '';
  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), '{ "private": true, "type": "module" }\n');
  const quick = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  await mustRun('npm', 'install', '--prefix', user, ...quick, folder.path(tarball));
  const everywhere = ['--global', '--prefix', folder.path('system')];
  await mustRun('npm', 'install', ...everywhere, ...quick, folder.path(tarball));
  for (const [name, text] of examples()) writeFileSync(join(user, name), text);
}, 180_000);

afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    child.kill('SIGTERM');
    await ended;
  }
});
afterAll(() => folder.remove());

describe('the package', () => {
  it('holds the built program and what its users need, and nothing else', () => {
    const folder = join(user, 'node_modules', 'iser-nbd');
    const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    for (const path of ['cli/main.js', 'library/target.js', 'library/target.d.ts']) {
      expect(paths).toContain(join('dist', path));
    }
    for (const path of ['deploy/iser-nbd.service', 'man/iser-nbd.1', 'README.md', 'LICENSE']) {
      expect(paths).toContain(path);
    }
    // A container is built from a checkout, and a source map is nothing without its source.
    const unwanted = /^(src|test|bench|scripts|node_modules)\/|\.map$|Containerfile$/;
    expect(paths.filter((path) => unwanted.test(path))).toEqual([]);
  });
});

describe('the installed program', () => {
  const program = () => join(user, 'node_modules', '.bin', 'iser-nbd');

  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(await mustRun(program(), '--version')).toBe(`${version}\n`);
  });

  it('explains a command', async () => {
    expect(await mustRun(program(), 'serve', '--help')).toContain('--export');
  });
});

describe('the man page', () => {
  const page = () => join(user, 'node_modules', 'iser-nbd', 'man', 'iser-nbd.1');

  it('is where man finds it, beside the program, when all users have the package', async () => {
    expect(existsSync(folder.path('system/share/man/man1/iser-nbd.1'))).toBe(true);
    expect(await mustRun(folder.path('system/bin/iser-nbd'), '--help')).toContain('serve');
  });

  it('has every command and option', () => {
    const text = readFileSync(page(), 'utf8');
    for (const { name, options } of commandDefinitions(withCommands)) {
      expect(text).toContain(`\n.SS ${name}\n`);
      for (const option of options) {
        expect(text).toContain(`\n\\fB${`--${option.name}`.replaceAll('-', '\\-')}\\fR`);
      }
    }
  });

  it.runIf(haveTools('mandoc on the man page', 'mandoc'))('pleases mandoc', async () => {
    const { stdout } = await command('mandoc', ['-T', 'lint', page()]);
    expect(stdout).toBe('');
  });

  it.runIf(haveTools('groff on the man page', 'groff'))('pleases groff', async () => {
    const { stdout, stderr } = await command('groff', ['-man', '-ww', '-Tutf8', page()]);
    expect(stderr).toBe('');
    expect(stdout).toContain('it was asked to end');
  });
});

describe('the library', () => {
  it.runIf(haveTools('the NBD server example', 'nbdcopy'))(
    'serves the disk of the NBD server example',
    async () => {
      const port = /port: (\d+)/.exec(await startExample('nbd-server.mjs'))?.[1];
      const data = Buffer.alloc(3 << 20, 'what the client wrote ');
      writeFileSync(folder.path('data'), data);
      const uri = `nbd://127.0.0.1:${port}/ram`;
      await mustRun('nbdcopy', folder.path('data'), uri);
      await mustRun('nbdcopy', uri, folder.path('back'));
      expect(readFileSync(folder.path('back')).subarray(0, data.length).equals(data)).toBe(true);
    },
  );

  it('reads from the target example with the initiator example', async () => {
    const url = /iser:\S+/.exec(await startExample('target.mjs'))?.[0] ?? '';
    const said = await mustRun(process.execPath, join(user, 'initiator.mjs'), url);
    expect(said).toBe(`${256 << 20} bytes in sectors of 512\n${'00'.repeat(16)}\n`);
  });

  it('has types that fit the examples', async () => {
    const files = examples().map(([name]) => name);
    const compilerOptions = {
      ...{ strict: true, noEmit: true, allowJs: true, checkJs: true, skipLibCheck: false },
      ...{ module: 'NodeNext', target: 'ES2022', lib: ['ES2023'], types: ['node'] },
      typeRoots: [join(CHECKOUT, 'node_modules', '@types')],
    };
    writeFileSync(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
    const tsc = join(CHECKOUT, 'node_modules', '.bin', 'tsc');
    const { status, stdout } = await command(tsc, ['-p', user]);
    expect(stdout).toBe('');
    expect(status).toBe(0);
  });

  it('keeps its inside to itself', async () => {
    const inside = `import('iser-nbd/dist/nbd/server.js').catch(({ code }) => console.log(code))`;
    writeFileSync(join(user, 'inside.mjs'), inside);
    const said = await mustRun(process.execPath, join(user, 'inside.mjs'));
    expect(said).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n');
  });
});

/** The programs in docs/library.md, by the name in their first line. */
function examples(): [name: string, text: string][] {
  const text = readFileSync(join(CHECKOUT, 'docs', 'library.md'), 'utf8');
  const found = [...text.matchAll(/^```js\n(\/\/ ([\w-]+\.mjs).*?)^```$/gms)];
  expect(found.length).toBe(3);
  return found.map(([, program = '', name = '']) => [name, program]);
}

/** Starts an example on a free port; resolves with its `ready` line. */
function startExample(name: string): Promise<string> {
  const child = spawn(process.execPath, [join(user, name), '0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let wrong = '';
  child.stderr.on('data', (bytes: Buffer) => (wrong += bytes.toString()));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  running.push({ child, ended });
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (bytes: Buffer) => {
      said += bytes.toString();
      if (/^ready.*\n/.test(said)) resolve(said);
    });
    void ended.then(() => reject(new Error(`${name} ended: ${wrong}`)));
  });
}
