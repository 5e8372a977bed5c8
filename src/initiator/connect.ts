import { formatAddress } from '../common/address.js';
import { openSession } from './open-session.js';
import type { InitiatorOptions } from './open-session.js';
import { parseSendTargets } from '../iscsi/send-targets.js';
import type { DiscoveredTarget } from '../iscsi/send-targets.js';
import type { IscsiSession } from './session.js';

export interface SessionConnectOptions extends InitiatorOptions {
  readonly targetName: string;
}

/**
 * Connects, logs in to `targetName`, and resolves with the session. Follows redirections. Rejects with
 * {@link IscsiLoginError} for a refusal or a timeout, with {@link IscsiProtocolError}, with ConfigError for an
 * unusable name or unusable credentials, or with the error of `connect`. After a rejection every resource of the
 * connection is released.
 */
export function connectSession(options: SessionConnectOptions): Promise<IscsiSession> {
  return openSession(options, options.targetName);
}

/**
 * Asks a portal for its targets (SendTargets, RFC 7143 appendix C) in a discovery session. Rejects as connectSession
 * does, and when the target refuses to answer. Logs a warning for items that it leaves out.
 */
export async function discoverTargets(options: InitiatorOptions): Promise<DiscoveredTarget[]> {
  const session = await openSession(options, null);
  try {
    const answer = await session.exchangeText([{ key: 'SendTargets', value: 'All' }]);
    const { targets, odd } = parseSendTargets(answer, options.portal);
    if (odd.count > 0) {
      options.log.warn(
        { portal: formatAddress(options.portal), count: odd.count, items: odd.first },
        'left unreadable items out of the list of targets',
      );
    }
    return targets;
  } finally {
    await session.close();
  }
}
