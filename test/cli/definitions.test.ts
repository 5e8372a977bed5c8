import { describe, expect, it } from 'vitest';
import { withCommands } from '../../src/cli/commands.js';
import { commandDefinitions } from '../../src/cli/definitions.js';

const definitions = commandDefinitions(withCommands);
const option = (command: string, name: string) =>
  definitions
    .find((item) => item.name === command)
    ?.options.find((candidate) => candidate.name === name);

describe('what is written down of the command line', () => {
  it('has every command that is not hidden', () => {
    const names = definitions.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(['serve', 'target', 'discover', 'info', 'completion']),
    );
    expect(names).not.toContain('serve-worker');
  });

  it('has positional arguments and examples', () => {
    const info = definitions.find(({ name }) => name === 'info');
    expect(info?.usage).toBe('info <url>');
    expect(info?.positionals.map(({ name }) => name)).toEqual(['url']);
    const serve = definitions.find(({ name }) => name === 'serve');
    expect(serve?.examples[0]?.line).toMatch(/^\$0 serve/);
  });

  it('tells values, choices, repetition and defaults of options', () => {
    expect(option('serve', 'tls')).toMatchObject({
      takesValue: true,
      choices: ['off', 'on', 'require'],
      isRepeatable: false,
    });
    expect(option('serve', 'export')).toMatchObject({ choices: [], isRepeatable: true });
    expect(option('serve', 'read-only')).toMatchObject({ takesValue: false });
    expect(option('serve', 'log-level')?.describe).toMatch(/ \[info\]$/);
  });
});
