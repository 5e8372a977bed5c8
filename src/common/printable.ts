/**
 * Strangers' text as it may go to a terminal. There, control characters give orders, bidirectional overrides make a name
 * look like another, and what has no width hides. All of them are written out as escapes.
 */

/** Control and format characters, lone surrogates, private use, and separators of lines. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const UNSAFE_IN_JSON = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
/** In a line of JSON: any escape, so that an escaped backslash is not taken for the beginning of one. */
const JSON_ESCAPE = /\\(?:u([0-9a-fA-F]{4})|.)/g;
/** Enough to know a name by in a message. */
const QUOTED_CHARS_MAX = 80;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `text` with escapes such as `\x1b` and `\u202e` for what a terminal must not get. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x100) return `\\x${hex(code, 2)}`;
    return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 5)}}`;
  });
}

/**
 * The same for bytes that ought to be UTF-8, with `\xff` for each that is none and two backslashes for one: no two strings
 * of bytes look the same, so that what is known by its name can be told apart.
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

/** A string in a message: in quotes, and cut if it is long. */
export function quoted(text: string): string {
  const cut = text.length > QUOTED_CHARS_MAX ? `${text.slice(0, QUOTED_CHARS_MAX)}...` : text;
  return escapeJson(JSON.stringify(cut));
}

export function quotedBytes(bytes: Uint8Array): string {
  const cut = printableBytes(bytes.subarray(0, QUOTED_CHARS_MAX));
  return `"${cut}${bytes.length > QUOTED_CHARS_MAX ? '...' : ''}"`;
}

/** JSON that means the same and is safe to print. Newlines stay: within strings there are none. */
export function escapeJson(json: string): string {
  return json.replace(UNSAFE_IN_JSON, (character) =>
    character
      .split('')
      .map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`)
      .join(''),
  );
}

/**
 * A line of JSON for a program that parses it and prints the strings: what is unsafe in them comes out of the parser as an
 * escape. Line ends stay, for the stacks of errors.
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

/** One character, printable; null when the bytes are none. */
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
