import { RangeLock } from '../block/range-lock.js';
import { iscsiNameKey } from '../iscsi/iscsi-name.js';
import type { ScsiDisk } from '../disk/scsi-disk.js';
import { compareIdentities } from '../disk/identity.js';

/** A logical unit as this process uses it: by one export or by several, each with a session and a disk of its own. */
export interface SharedUnit {
  /** The name of the export that brought it here; all processes over the same exports call it so. */
  readonly name: string;
  /** One for all: requests that overlap are put in order whichever export they come by. */
  readonly lock: RangeLock;
  /** The exports' disks. */
  readonly disks: ReadonlySet<ScsiDisk>;
}

interface Entry extends SharedUnit {
  readonly disks: Set<ScsiDisk>;
  readonly portName: string;
}

/** The logical units of this process. Two exports, or two URLs, may lead to one: their identity says so. */
export class UnitRegistry {
  readonly #entries: Entry[] = [];

  /** The unit that `disk` is a way to. `portName` is the target's name and the LUN, for units that have no identity. */
  join(disk: ScsiDisk, exportName: string, portName: string): SharedUnit {
    const known = this.#entries.find((entry) => isSameUnit(entry, disk, portName));
    if (known === undefined) {
      const entry = { name: exportName, lock: new RangeLock(), disks: new Set([disk]), portName };
      this.#entries.push(entry);
      return entry;
    }
    known.disks.add(disk);
    // A flush by one of them covers what was written by the others.
    for (const each of known.disks) each.share();
    return known;
  }

  leave(disk: ScsiDisk): void {
    for (const [index, { disks }] of this.#entries.entries()) {
      if (!disks.delete(disk)) continue;
      if (disks.size === 0) this.#entries.splice(index, 1);
      return;
    }
  }

  get(name: string): SharedUnit | undefined {
    return this.#entries.find((entry) => entry.name === name);
  }

  [Symbol.iterator](): Iterator<SharedUnit> {
    return this.#entries[Symbol.iterator]();
  }
}

function isSameUnit(entry: Entry, disk: ScsiDisk, portName: string): boolean {
  for (const other of entry.disks) {
    const verdict = compareIdentities(other.identity, disk.identity);
    return (
      verdict === 'same' ||
      (verdict === 'unknown' && iscsiNameKey(entry.portName) === iscsiNameKey(portName))
    );
  }
  return false;
}
