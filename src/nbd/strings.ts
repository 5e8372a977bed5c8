const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A protocol string (proto.md, "Conventions"), or null for one with a NUL or that is no UTF-8. */
export function stringOf(bytes: Buffer): string | null {
  if (bytes.includes(0)) return null;
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}
