import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { readConfigFile } from '../../src/gateway/config.js';

const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-'));
afterAll(() => rmSync(folder, { recursive: true }));

function configFile(text: string): string {
  const path = join(folder, 'serve.yaml');
  writeFileSync(path, text);
  return path;
}

describe('a configuration file', () => {
  it('has listeners and exports, with everything else left out', () => {
    const path = configFile('listen: [127.0.0.1:1]\nexports:\n  - {name: a, url: "memory:1M"}\n');
    expect(readConfigFile(path)).toEqual({
      listen: ['127.0.0.1:1'],
      unix: [],
      exports: [{ name: 'a', url: 'memory:1M', description: '', readOnly: false }],
    });
  });

  it('must be UTF-8, so that no two names in it can be one', () => {
    const path = configFile('');
    writeFileSync(path, Buffer.from('initiatorName: caf\xe9', 'latin1'));
    expect(() => readConfigFile(path)).toThrow(/serve\.yaml is not UTF-8/);
  });

  it('may be empty', () => {
    expect(readConfigFile(configFile(''))).toEqual({ listen: [], unix: [], exports: [] });
  });

  it('says for how long to poll', () => {
    expect(readConfigFile(configFile('pollUs: 0')).pollUs).toBe(0);
  });

  it('is what deploy/serve.yaml shows', () => {
    const text = readFileSync(new URL('../../deploy/serve.yaml', import.meta.url), 'utf8');
    const shown = readConfigFile(configFile(text.replaceAll('# chap', 'chap')));
    expect(shown.exports[0]).toMatchObject({ name: 'disk', chapUser: 'gateway' });
  });

  it.each([
    ['exports: [', /not YAML/],
    ['exports: 7', /exports/],
    ['exprts: []', /exprts/],
    ['exports: [{name: a}]', /exports\.0\.url/],
    ['exports: [{name: a, urll: x}]', /urll/],
    ['listen: [1]', /listen\.0/],
    ['pollUs: 1001', /pollUs/],
    ['pollUs: -1', /pollUs/],
    ['pollUs: 1.5', /pollUs/],
  ])('is refused in one line that names the place: %j', (text, words) => {
    const path = configFile(text);
    expect(() => readConfigFile(path)).toThrow(ConfigError);
    expect(() => readConfigFile(path)).toThrow(words);
    expect(() => readConfigFile(path)).not.toThrow(/\n/);
  });

  it('that is not there is refused by name', () => {
    expect(() => readConfigFile(join(folder, 'none.yaml'))).toThrow(/none\.yaml/);
  });
});
