// npm run build:man: writes man/iser-nbd.1 from the definitions of the built program's command line and man-text.mjs.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withCommands } from '../dist/cli/commands.js';
import { commandDefinitions } from '../dist/cli/definitions.js';
import { bold, example, italic, item, literal, prose, typed } from './man-roff.mjs';
import * as text from './man-text.mjs';
import { root } from './prepare.mjs';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const commands = commandDefinitions(withCommands);

const page = [
  '.\\" Written by scripts/man.mjs from the definitions of the command line.',
  `.TH ISER\\-NBD 1 "${dateOf(version)}" "iser\\-nbd ${version}" "User Commands"`,
  '.SH NAME\niser\\-nbd \\- NBD server whose exports are iSER LUNs',
  `.SH SYNOPSIS\n${commands.map(synopsis).join('\n.br\n')}`,
  `.SH DESCRIPTION\n${text.DESCRIPTION.map(prose).join('\n.PP\n')}`,
  `.SH COMMANDS\n${commands.map(command).join('\n')}`,
  `.SH LUNS\n${items(text.LUNS)}`,
  `.SH ENVIRONMENT\n${items(text.ENVIRONMENT)}`,
  `.SH FILES\n${items(text.FILES)}`,
  `.SH SIGNALS\n${items(text.SIGNALS)}`,
  `.SH "EXIT STATUS"\n${items(text.EXIT_STATUS)}`,
  `.SH EXAMPLES\n${text.EXAMPLES.map(([what, lines]) => `.PP\n${prose(what)}\n${example(lines)}`).join('\n')}`,
  `.SH "SEE ALSO"\n${prose(text.SEE_ALSO)}`,
];
mkdirSync(join(root, 'man'), { recursive: true });
writeFileSync(join(root, 'man', 'iser-nbd.1'), tidy(page.join('\n')));

function synopsis({ name, positionals, usage }) {
  const optional = usage.includes('[');
  const rest = positionals.map((positional) => {
    const placeholder = italic(positional.name);
    return optional ? `[${placeholder}]` : placeholder;
  });
  return [bold('iser-nbd'), bold(name), `[${italic('options')}]`, ...rest].join(' ');
}

function command({ name, describe, options, positionals, examples }) {
  return [
    `.SS ${literal(name)}`,
    prose(sentence(describe)),
    ...positionals.map((positional) => item(italic(positional.name), optionText(positional))),
    ...options.map((option) => item(optionTerm(option), optionText(option))),
    ...examples.flatMap(({ line, what }) => [
      `.PP\n${prose(sentence(what).replace(/\.$/, ':'))}`,
      example([line.replaceAll('$0', 'iser-nbd')]),
    ]),
  ].join('\n');
}

function optionTerm(option) {
  const name = bold(`--${option.name}`);
  if (!option.takesValue) return name;
  if (option.choices.length > 0) return `${name} ${option.choices.map(bold).join('|')}`;
  return `${name} ${italic(placeholderOf(option))}`;
}

/** The word in capitals that the description begins with, or what the name says that it is. */
function placeholderOf({ name, describe }) {
  const [word] = /^[A-Z][A-Z0-9_]*(?:[=:][A-Z]+)?(?=[ ,;:]|$)/.exec(describe) ?? [];
  if (word !== undefined && word.length > 2 && !/^(CHAP|YAML|PEM|TLS|NBD)$/.test(word))
    return word.toLowerCase();
  return /(file|config|cert|key|ca|psk)$/.test(name) ? 'file' : 'value';
}

function optionText({ describe, isRepeatable }) {
  const often =
    isRepeatable && !describe.includes('repeatable') ? ' It may be given more than once.' : '';
  // In the help, what is in brackets at the end is the default, or where else the value may come from.
  const [, what = describe, rest] = /^(.*?) \[([^[\]]*)\]$/s.exec(describe) ?? [];
  const otherwise = rest === undefined ? '' : /^environment/.test(rest) ? ` (${rest})` : '';
  const byDefault = rest === undefined || otherwise !== '' ? '' : ` Default: ${rest}.`;
  return `${sentence(what + otherwise)}${often}${byDefault}`;
}

function sentence(words) {
  const first = /^(iSCSI|iSER|iser:|memory:|file:|off;)/.test(words)
    ? words
    : words[0].toUpperCase() + words.slice(1);
  return /[.:]$/.test(first) ? first : `${first}.`;
}

function items(list) {
  return list.map(([term, what]) => item(typed(term), what)).join('\n');
}

/** The day of the release, as the change log has it; the newest one's for what comes after, and today before any. */
function dateOf(wanted) {
  const log = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  const releases = [...log.matchAll(/^## (\d\S*) \((\d{4}-\d{2}-\d{2})\)/gm)];
  return (
    (releases.find(([, name]) => name === wanted) ?? releases[0])?.[2] ??
    new Date().toISOString().slice(0, 10)
  );
}

/** A paragraph right behind a heading is none, and characters outside of ASCII have names. */
function tidy(roff) {
  return `${roff.replace(/^(\.S[HS] .*\n)\.PP\n/gm, '$1').replace(/[^\x00-\x7f]/gu, (character) => {
    const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    return `\\[u${code}]`;
  })}\n`;
}
