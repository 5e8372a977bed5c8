import { type Peer, mayUse, asksForTls } from './access.js';
import type { ExportTable, NbdExport } from './export.js';
import type { TlsStance } from './option-context.js';

/**
 * The exports as one client sees them. Exports that the client may not use do not exist for it. The default export is the
 * same for all clients; a client that may not use it has no default.
 */
export function visibleExports(table: ExportTable, peer: Peer, stance: TlsStance): ExportTable {
  const isVisible = (item: NbdExport): boolean => mayUse(item.allow, peer);
  return {
    lookup: (name) => {
      const item = table.lookup(name);
      return item !== null && isVisible(item) ? item : null;
    },
    list: () => [...table.list()].filter(isVisible),
    get hasTlsOnly() {
      return stance === 'offered' && [...table.list()].some(({ allow }) => asksForTls(allow));
    },
  };
}
