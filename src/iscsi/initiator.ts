import { quoted } from '../common/printable.js';
import { IscsiProtocolError } from './errors.js';
import { ISCSI_NAME_BYTES_MAX } from './limits.js';
import { openSession } from './open-session.js';
import type { InitiatorOptions } from './open-session.js';
import { parseTargetAddress } from './portal.js';
import type { Portal, TargetPortal } from './portal.js';
import type { IscsiSession } from './session.js';
import type { TextPair } from './text.js';

export interface SessionConnectOptions extends InitiatorOptions {
  readonly targetName: string;
}

/**
 * Connects, logs in to `targetName`, and resolves with the session. Follows redirections. Rejects with
 * IscsiLoginError (refused, timed out), {@link IscsiProtocolError}, ConfigError for names and credentials that
 * cannot be used, or with what `connect` rejects with; nothing of the connection is left then.
 */
export function connectSession(options: SessionConnectOptions): Promise<IscsiSession> {
  return openSession(options, options.targetName);
}

/** A target that a portal told of. */
export interface DiscoveredTarget {
  readonly name: string;
  readonly portals: readonly TargetPortal[];
}

/**
 * Asks a portal for its targets (SendTargets, RFC 7143 appendix C) in a discovery session of its own. Rejects as
 * connectSession does, and when the answer is malformed.
 */
export async function discoverTargets(options: InitiatorOptions): Promise<DiscoveredTarget[]> {
  const session = await openSession(options, null);
  try {
    const pairs = await session.exchangeText([{ key: 'SendTargets', value: 'All' }]);
    return parseTargets(pairs, options.portal);
  } finally {
    await session.close();
  }
}

/**
 * The targets in a SendTargets answer: each TargetName is followed by its TargetAddresses. A target without one is
 * reached where it was asked for.
 */
export function parseTargets(pairs: readonly TextPair[], asked: Portal): DiscoveredTarget[] {
  const targets: { name: string; portals: TargetPortal[] }[] = [];
  for (const { key, value } of pairs) {
    const last = targets.at(-1);
    if (key === 'TargetName') {
      if (value.length === 0 || value.length > ISCSI_NAME_BYTES_MAX) {
        throw new IscsiProtocolError(`TargetName=${quoted(value)} is not a name`);
      }
      targets.push({ name: value, portals: [] });
    } else if (key === 'TargetAddress') {
      if (last === undefined) {
        throw new IscsiProtocolError('the SendTargets answer has an address before any target');
      }
      last.portals.push(parseTargetAddress(value));
    } else if (key === 'SendTargets') {
      throw new IscsiProtocolError(`the target answered SendTargets with ${quoted(value)}`);
    }
  }
  const here = { host: asked.host, port: asked.port, portalGroupTag: null };
  return targets.map(({ name, portals }) => ({
    name,
    portals: portals.length === 0 ? [here] : portals,
  }));
}
