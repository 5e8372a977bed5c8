import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { command, haveTools, iserNbd, mustRun, temporaryFolder } from './program.js';

const folder = temporaryFolder();
afterAll(() => folder.remove());

beforeAll(async () => {
  for (const shell of ['bash', 'zsh']) {
    const { status, stdout, stderr } = await iserNbd(['completion', shell]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    writeFileSync(folder.path(shell), stdout);
  }
});

describe.runIf(haveTools('completion in bash', 'bash'))('completion in bash', () => {
  /** What bash offers for the last of these words, which it has split as it does. */
  async function offered(...words: string[]): Promise<string[]> {
    const script = `
      set -eu
      source "$0"
      COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
      _iser_nbd iser-nbd
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const said = await mustRun('bash', '-c', script, folder.path('bash'), ...words);
    return said.split('\n').filter((line) => line !== '');
  }

  it.each<[words: string[], offer: string[]]>([
    [['iser-nbd', 'se'], ['serve']],
    [
      ['iser-nbd', 'serve', '--tls-c'],
      ['--tls-cert', '--tls-ca'],
    ],
    [
      ['iser-nbd', 'serve', '--tls', ''],
      ['off', 'on', 'require'],
    ],
    [['iser-nbd', 'serve', '--tls', '=', 're'], ['require']],
    [
      ['iser-nbd', 'serve', '--tls', '='],
      ['off', 'on', 'require'],
    ],
    [['iser-nbd', 'target', '--log-level', 'de'], ['debug']],
    [['iser-nbd', 'info', '--js'], ['--json']],
    [['iser-nbd', 'completion', 'z'], ['zsh']],
    // File names are for bash itself.
    [['iser-nbd', 'serve', '--config', ''], []],
    [['iser-nbd', 'target', '--js'], []],
  ])('%j gets %j', async (words, offer) => {
    expect(await offered(...words)).toEqual(offer);
  });

  it('is registered for the installed name, and falls back to file names', async () => {
    const said = await mustRun('bash', '-c', 'source "$0"; complete -p', folder.path('bash'));
    expect(said).toBe('complete -o bashdefault -o default -F _iser_nbd iser-nbd\n');
  });
});

describe.runIf(haveTools('completion in zsh', 'zsh'))('completion in zsh', () => {
  it('is registered for the installed name', async () => {
    const script = 'autoload -U compinit; compinit -u -D; source "$0"; print $_comps[iser-nbd]';
    expect(await mustRun('zsh', '-fc', script, folder.path('zsh'))).toBe('_iser_nbd\n');
  });

  it.each(['bash', 'zsh'])(
    'says nothing where it does not belong: the script for %s',
    async (name) => {
      for (const shell of ['bash', 'zsh']) {
        const found = await command(shell, ['-c', 'source "$0"', folder.path(name)]);
        expect(found).toEqual({ status: 0, stdout: '', stderr: '' });
      }
    },
  );
});
