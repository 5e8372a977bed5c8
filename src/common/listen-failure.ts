import { formatAddress } from './address.js';
import type { HostAndPort } from './address.js';
import { messageOf } from './errors.js';

/** Why the program cannot listen on an address, in words, and what to do. */
const REASONS: Readonly<Partial<Record<string, string>>> = {
  EACCES: 'this user may not use that port; choose a port from 1024 up',
  EPERM: 'this user may not use that port; choose a port from 1024 up',
  EADDRNOTAVAIL: 'this machine has no such address',
  EAFNOSUPPORT: 'this machine has no addresses of that kind',
  ENOTFOUND: 'there is no host of that name',
  EAI_AGAIN: 'the name server does not answer; try again, or give an IP address',
  EINVAL:
    'the address is not valid here; a link-local one needs an interface, as in [fe80::1%eth0]',
  EMFILE: 'too many files are open; raise the limit (ulimit -n)',
};

/** The sentence for people when the program cannot listen on a TCP address. */
export function listenFailure(address: HostAndPort, error: unknown): string {
  const where = formatAddress(address);
  const code = codeOf(error);
  if (code === 'EADDRINUSE') {
    return `another program listens on ${where}; stop it, or choose another address`;
  }
  return `cannot listen on ${where}: ${REASONS[code] ?? messageOf(error)}`;
}

/** The name of a system error, such as EACCES; empty for any other error. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
