import type { CommandDefinition, OptionDefinition } from './definitions.js';

/** A script for zsh, to be sourced or put into a folder of $fpath as `_iser-nbd`. The script contains all the words. */
export function zshCompletion(commands: readonly CommandDefinition[]): string {
  return `#compdef iser-nbd
# Completion for iser-nbd in zsh, printed by: iser-nbd completion zsh
_iser_nbd() {
  local curcontext="$curcontext" state line
  local -A opt_args
  local -a commands=(
${commands.map(({ name, describe }) => `    ${quoted(`${name}:${describe}`)}\n`).join('')}  )
  _arguments -C \\
    '(- *)'{-h,--help}'[explain]' \\
    '(- *)--version[print the version]' \\
    '1:command:->command' \\
    '*::argument:->argument'
  case $state in
    command) _describe -t commands command commands ;;
    argument)
      case $words[1] in
${commands.map(commandCase).join('')}      esac
      ;;
  esac
}
if [[ -z \${ZSH_VERSION-} ]]; then
  :
elif [[ \${zsh_eval_context[-1]} == loadautofunc ]]; then
  _iser_nbd "$@"
elif (( $+functions[compdef] )); then
  compdef _iser_nbd iser-nbd
fi
`;
}

function commandCase({ name, options, positionals }: CommandDefinition): string {
  const specs = [
    `'(- *)'{-h,--help}'[explain]'`,
    ...options.map((option) => quoted(optionSpec(option))),
    ...positionals.map((option) => quoted(`:${option.name}:${valuesOf(option)}`)),
  ];
  const lines = specs.map((spec) => ` \\\n            ${spec}`).join('');
  return `        ${name})\n          _arguments${lines}\n          ;;\n`;
}

/** As _arguments wants it: `--name=[what it is]:value:(the values)`. */
function optionSpec(option: OptionDefinition): string {
  const { name, describe, takesValue, isRepeatable } = option;
  const often = isRepeatable ? '*' : '';
  const what = describe.replace(/[[\]\\]/g, '\\$&');
  return takesValue
    ? `${often}--${name}=[${what}]:${name}:${valuesOf(option)}`
    : `--${name}[${what}]`;
}

function valuesOf({ choices }: OptionDefinition): string {
  return choices.length === 0 ? '_files' : `(${choices.join(' ')})`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
