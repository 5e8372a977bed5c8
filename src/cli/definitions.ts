import type { Argv } from 'yargs';
import { COMMENT } from './options.js';

/** What is known of an option of a command, or of a positional argument. */
export interface OptionDefinition {
  readonly name: string;
  readonly describe: string;
  readonly takesValue: boolean;
  /** The values it may have, where they are fixed. */
  readonly choices: readonly string[];
  readonly isRepeatable: boolean;
}

export interface CommandDefinition {
  readonly name: string;
  /** The name and the positional arguments, as in `discover <portal>`. */
  readonly usage: string;
  readonly describe: string;
  readonly options: readonly OptionDefinition[];
  readonly positionals: readonly OptionDefinition[];
  readonly examples: readonly { readonly line: string; readonly what: string }[];
}

/** What we read of yargs' descriptions. */
interface OptionSpec {
  readonly type?: string;
  readonly describe?: string;
  readonly choices?: readonly unknown[];
  readonly default?: string | number | boolean;
  readonly array?: boolean;
  readonly hidden?: boolean;
}

interface CommandSpec {
  readonly command: string;
  readonly describe: string | false;
  readonly builder: (argv: Argv) => unknown;
}

/**
 * What the command line's definitions say, for a man page or a shell's completion: `define` is called with what
 * looks like a yargs parser, and writes down the commands that it is given. Hidden ones are left out.
 */
export function commandDefinitions(define: (argv: Argv) => unknown): CommandDefinition[] {
  const commands: CommandDefinition[] = [];
  define(recorder({
    command: (spec: CommandSpec) => {
      if (spec.describe !== false) commands.push(commandDefinition(spec, spec.describe));
    },
  }));
  return commands;
}

function commandDefinition(spec: CommandSpec, describe: string): CommandDefinition {
  const options: OptionDefinition[] = [];
  const positionals: OptionDefinition[] = [];
  const examples: { line: string; what: string }[] = [];
  const addTo = (list: OptionDefinition[]) => (name: string, option: OptionSpec) => {
    if (option.hidden !== true) list.push(optionDefinition(name, option));
  };
  let comment = '';
  spec.builder(
    recorder({
      option: addTo(options),
      positional: addTo(positionals),
      // See withExample.
      example: (line: string) => {
        if (line.startsWith(COMMENT)) comment = line.slice(COMMENT.length);
        else examples.push({ line, what: comment });
      },
    }),
  );
  const [name = ''] = spec.command.split(' ');
  return { name, usage: spec.command, describe, options, positionals, examples };
}

function optionDefinition(name: string, spec: OptionSpec): OptionDefinition {
  const text = spec.describe ?? '';
  const hasDefault = spec.default !== undefined && spec.default !== false;
  return {
    name,
    // As --help has it, and as descriptions say it of defaults that are none to yargs.
    describe: hasDefault ? `${text} [${String(spec.default)}]` : text,
    takesValue: spec.type !== 'boolean',
    choices: (spec.choices ?? []).map(String),
    isRepeatable: spec.array === true,
  };
}

/** A parser on which every method can be called; those of `methods` do what they say, the others nothing. */
function recorder(methods: Readonly<Record<string, (...args: never[]) => unknown>>): Argv {
  const parser: object = new Proxy(
    {},
    {
      get:
        (_target, property) =>
        (...args: never[]) => {
          if (typeof property === 'string') methods[property]?.(...args);
          return parser;
        },
    },
  );
  return parser as Argv;
}
