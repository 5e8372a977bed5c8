import type { CommandDefinition, OptionDefinition } from './definitions.js';

/** The options of every command. */
const GENERAL = ['--help', '--version'];

/**
 * A script for bash. The script contains all the words: no program runs while somebody types, so nothing can go wrong.
 * Where the script has no words, bash completes file names.
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

/** The values of an option; none where any value is possible. */
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
