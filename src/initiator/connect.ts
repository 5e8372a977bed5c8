import { formatAddress } from '../common/address.js';
import { openSession } from './open-session.js';
import type { InitiatorOptions } from './open-session.js';
import { parseSendTargets } from '../iscsi/send-targets.js';
import type { DiscoveredTarget } from '../iscsi/send-targets.js';
import type { IscsiSession } from './session.js';

export type { DiscoveredTarget } from '../iscsi/send-targets.js';

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

/**
 * Asks a portal for its targets (SendTargets, RFC 7143 appendix C) in a discovery session of its own. Rejects as
 * connectSession does, and when the target refuses to answer. Warns of items that it had to leave out.
 */
export async function discoverTargets(options: InitiatorOptions): Promise<DiscoveredTarget[]> {
  const session = await openSession(options, null);
  try {
    const answer = await session.exchangeText([{ key: 'SendTargets', value: 'All' }]);
    const { targets, odd } = parseSendTargets(answer, options.portal);
    if (odd.count > 0) {
      options.log.warn(
        { portal: formatAddress(options.portal), count: odd.count, items: odd.first },
        'left out of the list of targets what cannot be understood',
      );
    }
    return targets;
  } finally {
    await session.close();
  }
}
