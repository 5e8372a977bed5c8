// Roff, as man(7) has it, from plain text.

const INPUT_COLUMNS = 78;

/**
 * A paragraph of prose. `**word**` is bold and `<word>` is a placeholder; what begins with `--` is an option, and bold.
 */
export function prose(text) {
  return wrap(
    text
      .replaceAll('\\', '\\e')
      .replace(/\*\*(.+?)\*\*/g, (_whole, word) => bold(word))
      .replace(/(^|[\s(,])(--[a-z][\w-]*)/g, (_whole, before, option) => before + bold(option))
      .replace(/<(.+?)>/g, (_whole, word) => italic(word)),
  );
}

/** What is typed as it stands: dashes and quotes are those of ASCII. */
export function literal(text) {
  return text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/'/g, '\\(aq')
    .replace(/`/g, '\\(ga')
    .replace(/\^/g, '\\(ha')
    .replace(/~/g, '\\(ti');
}

export function bold(text) {
  return `\\fB${literal(text)}\\fR`;
}

export function italic(text) {
  return `\\fI${literal(text)}\\fR`;
}

/** What is typed, with placeholders: `memory:<size>`. */
export function typed(text) {
  const parts = text.split(/<(.+?)>/);
  return parts
    .map((part, index) => (part === '' ? '' : index % 2 === 1 ? italic(part) : bold(part)))
    .join('');
}

/** A term, in roff, and what it means. */
export function item(term, text) {
  return `.TP\n${guarded(term)}\n${prose(text)}`;
}

/** Lines to type, or to put into a file. */
export function example(lines) {
  const text = lines.map((line) => guarded(literal(line))).join('\n');
  return `.PP\n.nf\n.RS 4\n${text}\n.RE\n.fi`;
}

/** Lines of input end where a person's would; only who reads the source sees that. */
function wrap(text) {
  const lines = [''];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1);
    if (line !== '' && line.length + 1 + word.length > INPUT_COLUMNS) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.map(guarded).join('\n');
}

/** A line that begins with a dot or an apostrophe would be a request. */
function guarded(line) {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}
