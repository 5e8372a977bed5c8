/** The names in a peer's certificate, in the form of node:tls. */
export interface NamedCertificate {
  readonly subject?: { readonly CN?: string | readonly string[] };
  readonly subjectaltname?: string | undefined;
}

/**
 * The names that a certificate gives its holder: common names, and the subject alternative names that are DNS names,
 * e-mail addresses, URIs or IP addresses.
 */
export function certificateNames({ subject, subjectaltname }: NamedCertificate): readonly string[] {
  const common = subject?.CN ?? [];
  const names = typeof common === 'string' ? [common] : [...common];
  if (subjectaltname !== undefined) names.push(...alternativeNames(subjectaltname));
  return names;
}

/**
 * Splits `DNS:a.example, email:b@example`. OpenSSL does not escape the values. Node puts a value that looks like several
 * into quotes, as a JSON string (CVE-2021-44532). Such a value is not a valid name, and is left out.
 */
function alternativeNames(text: string): string[] {
  const names: string[] = [];
  const entry = /(DNS|email|URI|IP Address|[^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;
  for (;;) {
    const match = entry.exec(text);
    if (match === null) return names;
    const [, kind = '', value = ''] = match;
    const isName = ['DNS', 'email', 'URI', 'IP Address'].includes(kind);
    if (isName && value !== '' && !value.startsWith('"')) names.push(value);
    if (entry.lastIndex >= text.length) return names;
  }
}
