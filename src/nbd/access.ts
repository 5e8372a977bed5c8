import { isInNetwork } from './network.js';
import type { Network } from './network.js';

/**
 * Which clients may use an export. With names, a client has to prove one of them, by a certificate or a pre-shared key.
 * With networks, the client has to come from one of them. With both, both conditions apply.
 */
export interface AccessRule {
  /** Names in client certificates: a common name, or a subject alternative name (DNS, e-mail, URI, IP address). */
  readonly certificates: readonly string[] | null;
  /** Identities of pre-shared keys. */
  readonly psk: readonly string[] | null;
  readonly networks: readonly Network[] | null;
}

/** What the server knows about a client. It has only names that the client has proved. */
export interface Peer {
  /** The IP address; null for a Unix socket. */
  readonly address: string | null;
  readonly certificateNames: readonly string[];
  readonly pskIdentity: string | null;
}

/** Whether a client may use an export, and may see that it exists. */
export function mayUse(rule: AccessRule | null, peer: Peer): boolean {
  if (rule === null) return true;
  return isNamed(rule, peer) && isFromNetwork(rule, peer);
}

/** Only clients with TLS can fulfil the rule. */
export function asksForTls(rule: AccessRule | null): boolean {
  return rule !== null && (rule.certificates !== null || rule.psk !== null);
}

function isNamed({ certificates, psk }: AccessRule, peer: Peer): boolean {
  if (certificates === null && psk === null) return true;
  if (certificates !== null && peer.certificateNames.some((name) => certificates.includes(name))) {
    return true;
  }
  return psk !== null && peer.pskIdentity !== null && psk.includes(peer.pskIdentity);
}

function isFromNetwork({ networks }: AccessRule, { address }: Peer): boolean {
  return networks === null || networks.some((network) => isInNetwork(network, address));
}
