import { formatAddress } from './address.js';
import type { HostAndPort } from './address.js';
import { messageOf } from './errors.js';

/** Why an address cannot be listened on, in words, and what to do. */
const REASONS: Readonly<Partial<Record<string, string>>> = {
  EACCES: 'this user may not; choose a port from 1024 up',
  EPERM: 'this user may not; choose a port from 1024 up',
  EADDRNOTAVAIL: 'this machine has no such address',
  EAFNOSUPPORT: 'this machine has no addresses of that kind',
  ENOTFOUND: 'there is no host of that name',
  EAI_AGAIN: 'the name of the host cannot be looked up now',
  EINVAL:
    'the address is not valid here; a link-local one needs an interface, as in [fe80::1%eth0]',
  EMFILE: 'too many files are open; raise the limit (ulimit -n)',
};

/** The sentence for people about a TCP address that could not be bound. */
export function listenFailure(address: HostAndPort, error: unknown): string {
  const where = formatAddress(address);
  const code = codeOf(error);
  if (code === 'EADDRINUSE') {
    return `another program listens on ${where}; stop it, or choose another address`;
  }
  return `cannot listen on ${where}: ${REASONS[code] ?? messageOf(error)}`;
}

/** The system's name for what went wrong; empty for what is none of its errors. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
