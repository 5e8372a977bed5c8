import { formatAddress } from '../common/address.js';
import { printable } from '../common/printable.js';
import type { DiscoveredTarget } from '../iscsi/send-targets.js';

/** The output of `discover`: one line per target, with its portals below. */
export function describeTargets(targets: readonly DiscoveredTarget[]): string {
  if (targets.length === 0) return 'the portal offers no targets to this initiator\n';
  return targets.map(describeTarget).join('');
}

function describeTarget({ name, portals }: DiscoveredTarget): string {
  const lines = portals.map(({ portalGroupTag, ...address }) => {
    const group = portalGroupTag === null ? '' : `,${portalGroupTag}`;
    return `  ${printable(formatAddress(address))}${group}\n`;
  });
  return `${printable(name)}\n${lines.join('')}`;
}
