import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { command, haveTools, temporaryFolder } from './program.js';

const folder = temporaryFolder();
afterAll(() => folder.remove());

const DEPLOY = new URL('../../deploy/', import.meta.url);

describe('the systemd units', () => {
  it
    .runIf(haveTools('systemd-analyze verify', 'systemd-analyze'))
    .each(['iser-nbd.service', 'iser-nbd-target.service'])(
    '%s passes systemd-analyze verify',
    async (name) => {
      // The package is not installed where the tests run, so the unit starts a program that is there.
      const unit = readFileSync(new URL(name, DEPLOY), 'utf8').replace(
        '/usr/local/bin/iser-nbd',
        process.execPath,
      );
      writeFileSync(folder.path(name), unit);
      // Pages of the manual, which the units refer to, need not be installed where the tests run.
      const args = ['verify', '--man=no', folder.path(name)];
      const { status, stderr } = await command('systemd-analyze', args);
      expect(stderr.split('\n').filter((line) => line.includes(name))).toEqual([]);
      expect(status).toBe(0);
    },
  );
});
