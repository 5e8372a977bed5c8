import type { CommandDefinition, OptionDefinition } from './definitions.js';

/** What every command takes. */
const GENERAL = ['--help', '--version'];

/**
 * A script for bash. It has all the words in it, so that no program runs, and nothing can go wrong, while somebody types.
 * Where it knows none, bash completes file names.
 */
export function bashCompletion(commands: readonly CommandDefinition[]): string {
  const names = commands.map(({ name }) => name);
  return `# Completion for iser-nbd in bash, printed by: iser-nbd completion bash
_iser_nbd() {
  local word=\${COMP_WORDS[COMP_CWORD]} option=\${COMP_WORDS[COMP_CWORD - 1]} command='' words='' index
  COMPREPLY=()
  # Bash takes --tls=on for three words.
  if [[ $word == '=' ]]; then
    word=''
  elif [[ $option == '=' ]] && ((COMP_CWORD > 1)); then
    option=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((index = 1; index < COMP_CWORD; index++)); do
    case \${COMP_WORDS[index]} in
      ${names.join(' | ')})
        command=\${COMP_WORDS[index]}
        break
        ;;
    esac
  done
  case "$command $option" in
${commands.flatMap((command) => command.options.map((option) => valueCase(command, option))).join('')}    *)
      case $command in
        '') words='${[...names, ...GENERAL].join(' ')}' ;;
${commands.map(wordsCase).join('')}      esac
      ;;
  esac
  # shellcheck disable=SC2207
  COMPREPLY=($(compgen -W "$words" -- "$word")) || return 0
}
[ -z "\${BASH_VERSION-}" ] || complete -o bashdefault -o default -F _iser_nbd iser-nbd
`;
}

/** What an option's value may be; nothing, where anything may be. */
function valueCase({ name }: CommandDefinition, option: OptionDefinition): string {
  if (!option.takesValue) return '';
  return `    '${name} --${option.name}') words='${option.choices.join(' ')}' ;;\n`;
}

function wordsCase({ name, options, positionals }: CommandDefinition): string {
  const words = [
    ...positionals.flatMap(({ choices }) => choices),
    ...options.map((option) => `--${option.name}`),
    ...GENERAL,
  ];
  return `        ${name}) words='${words.join(' ')}' ;;\n`;
}
