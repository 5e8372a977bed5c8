import { quoted, quotedBytes } from '../common/printable.js';
import { IscsiProtocolError } from './errors.js';
import { ODD_ITEMS_TOLD_MAX } from './limits.js';
import { ISCSI_NAME_BYTES_MAX } from './limits.js';
import { parseTargetAddress, withScopeOf } from './portal.js';
import type { Portal, TargetAddress } from './portal.js';
import { splitText } from './text.js';

/** A target in the answer of a portal. */
export interface DiscoveredTarget {
  readonly name: string;
  readonly portals: readonly TargetAddress[];
}

/** The first items that were left out, for people, and the count of all such items. */
export interface OddItems {
  readonly first: readonly string[];
  readonly count: number;
}

interface FoundTarget extends DiscoveredTarget {
  readonly portals: TargetAddress[];
  /** The answer gave the target an address, usable or not. */
  hasAddress: boolean;
}

/**
 * Reads a SendTargets answer (RFC 7143 appendix C): each TargetName is followed by its TargetAddresses. A target
 * without an address has the address of the portal that answered. An unreadable item is left out and the rest is
 * kept, because the answer also holds the targets of others.
 * @throws IscsiProtocolError when the target refuses to answer
 */
export function parseSendTargets(
  bytes: Uint8Array,
  asked: Portal,
): { targets: DiscoveredTarget[]; odd: OddItems } {
  const reader = new SendTargetsReader(asked);
  for (const { key, value } of splitText(bytes)) reader.take(key, value);
  return { targets: reader.targets, odd: { first: reader.odd, count: reader.oddCount } };
}

class SendTargetsReader {
  readonly odd: string[] = [];
  oddCount = 0;
  readonly #asked: Portal;
  readonly #found: FoundTarget[] = [];
  /** The target of the addresses that follow. Null at the beginning, and after a name that was left out. */
  #current: FoundTarget | null = null;

  constructor(asked: Portal) {
    this.#asked = asked;
  }

  get targets(): DiscoveredTarget[] {
    const { host, port } = this.#asked;
    const here = { host, port, portalGroupTag: null };
    return this.#found.map(({ name, portals, hasAddress }) => ({
      name,
      portals: hasAddress ? portals : [here],
    }));
  }

  /** `key` is null for an item that is not `key=value`. */
  take(key: string | null, value: Uint8Array): void {
    switch (key) {
      case 'TargetName':
        this.#takeName(value);
        return;
      case 'TargetAddress':
        this.#takeAddress(value);
        return;
      case 'SendTargets':
        throw new IscsiProtocolError(
          `the target answered SendTargets with ${quotedBytes(value)}; it may not allow discovery to this initiator`,
        );
      case null:
        this.#leaveOut(`${quotedBytes(value)} is no key=value`);
        return;
      default:
        // Other keys say nothing about targets.
        return;
    }
  }

  #takeName(value: Uint8Array): void {
    this.#current = null;
    const name = textOf(value);
    if (name === null || value.length === 0 || value.length > ISCSI_NAME_BYTES_MAX) {
      this.#leaveOut(`TargetName=${quotedBytes(value)} is not a name`);
      return;
    }
    this.#current = { name, portals: [], hasAddress: false };
    this.#found.push(this.#current);
  }

  #takeAddress(value: Uint8Array): void {
    const text = textOf(value);
    const portal = text === null ? null : addressOf(text);
    if (portal === null) {
      const whose = this.#current === null ? '' : ` of ${quoted(this.#current.name)}`;
      this.#leaveOut(`TargetAddress=${quotedBytes(value)}${whose} is not an address`);
    }
    if (this.#current === null) return;
    this.#current.hasAddress = true;
    if (portal !== null) this.#current.portals.push(withScopeOf(portal, this.#asked));
  }

  #leaveOut(what: string): void {
    this.oddCount++;
    if (this.odd.length < ODD_ITEMS_TOLD_MAX) this.odd.push(what);
  }
}

function addressOf(text: string): TargetAddress | null {
  try {
    return parseTargetAddress(text);
  } catch (error) {
    if (error instanceof IscsiProtocolError) return null;
    throw error;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}
