/**
 * Makes text from peers safe for a terminal. On a terminal, control characters are commands, bidirectional overrides make
 * one name look like another, and characters without width cannot be seen. All of these become escapes.
 */

/** Control and format characters, lone surrogates, private use, and separators of lines. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const UNSAFE_IN_JSON = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
/** Any escape in a line of JSON: so the second half of an escaped backslash does not look like the start of an escape. */
const JSON_ESCAPE = /\\(?:u([0-9a-fA-F]{4})|.)/g;
/** Enough of a name to recognize it in a message. */
const QUOTED_CHARS_MAX = 80;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `text` with escapes such as `\x1b` and `\u202e` for characters that a terminal must not get. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x100) return `\\x${hex(code, 2)}`;
    return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 5)}}`;
  });
}

/**
 * {@link printable} for bytes that should be UTF-8. A byte that is not becomes `\xff`, and a backslash becomes two: so
 * two different names never look the same.
 */
export function printableBytes(bytes: Uint8Array): string {
  let text = '';
  let start = 0;
  while (start < bytes.length) {
    const length = characterBytes(bytes[start] ?? 0);
    const character = decoded(bytes.subarray(start, start + length));
    text += character ?? `\\x${hex(bytes[start] ?? 0, 2)}`;
    start += character === null ? 1 : length;
  }
  return text;
}

/** A string for a message: in quotes, and cut when it is long. */
export function quoted(text: string): string {
  const cut = text.length > QUOTED_CHARS_MAX ? `${text.slice(0, QUOTED_CHARS_MAX)}...` : text;
  return escapeJson(JSON.stringify(cut));
}

export function quotedBytes(bytes: Uint8Array): string {
  const cut = printableBytes(bytes.subarray(0, QUOTED_CHARS_MAX));
  return `"${cut}${bytes.length > QUOTED_CHARS_MAX ? '...' : ''}"`;
}

/** The same JSON, safe to print. Newlines stay: JSON strings contain none. */
export function escapeJson(json: string): string {
  return json.replace(UNSAFE_IN_JSON, (character) =>
    character
      .split('')
      .map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`)
      .join(''),
  );
}

/**
 * A line of JSON for a program that parses the line and prints its strings. After parsing, unsafe characters are still
 * escapes. Line ends stay line ends, for the stacks of errors.
 */
export function escapeJsonTwice(line: string): string {
  return escapeJson(line).replace(JSON_ESCAPE, (escape, digits: string | undefined) => {
    const isUnsafe =
      digits === undefined
        ? /^\\[bfr]$/.test(escape)
        : printable(String.fromCharCode(parseInt(digits, 16))).length > 1;
    return isUnsafe ? `\\${escape}` : escape;
  });
}

function characterBytes(first: number): number {
  if (first < 0xc0) return 1;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** One character, printable; null when the bytes are not UTF-8. */
function decoded(bytes: Uint8Array): string | null {
  try {
    const character = decoder.decode(bytes);
    return character === '\\' ? '\\\\' : printable(character);
  } catch {
    return null;
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
