import type { Argv } from 'yargs';
import { COMMENT } from './options.js';

/** An option of a command, or a positional argument. */
export interface OptionDefinition {
  readonly name: string;
  readonly describe: string;
  readonly takesValue: boolean;
  /** The possible values, where they are fixed. */
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

/** The parts of yargs' descriptions that are read here. */
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
 * The definitions of the command line, for a man page or a shell's completion. `define` gets an object that looks like a
 * yargs parser and records the commands. Hidden commands are left out.
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
      // See withExamples.
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
    // In the form of --help. Descriptions use the same form for defaults that yargs does not know.
    describe: hasDefault ? `${text} [${String(spec.default)}]` : text,
    takesValue: spec.type !== 'boolean',
    choices: (spec.choices ?? []).map(String),
    isRepeatable: spec.array === true,
  };
}

/** A parser on which every method can be called. A method that is not in `methods` does nothing. */
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
