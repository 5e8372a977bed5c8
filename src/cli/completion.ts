import type { Argv, CommandModule } from 'yargs';
import { bashCompletion } from './completion-bash.js';
import { zshCompletion } from './completion-zsh.js';
import type { CommandDefinition } from './definitions.js';
import { withExamples } from './options.js';
import { print } from './output.js';

const SHELLS = ['bash', 'zsh'] as const;

interface CompletionArguments {
  shell: (typeof SHELLS)[number] | undefined;
}

/** `definitions` is called only when the command runs: this command is one of the definitions. */
export function completionCommand(
  definitions: () => readonly CommandDefinition[],
): CommandModule<object, CompletionArguments> {
  return {
    command: 'completion [shell]',
    describe: 'print a script for command completion in bash or zsh',
    builder: (argv: Argv) =>
      withExamples(
        argv.positional('shell', {
          choices: SHELLS,
          describe: 'which shell [the one in $SHELL]',
        }),
        {
          'source <($0 completion bash)': 'in ~/.bashrc',
          'source <($0 completion zsh)': 'in ~/.zshrc, after compinit',
        },
      ),
    handler: ({ shell }) => {
      const isZsh = (shell ?? process.env['SHELL'] ?? '').endsWith('zsh');
      const script = isZsh ? zshCompletion : bashCompletion;
      print(script(definitions()));
    },
  };
}
