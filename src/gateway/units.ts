import { RangeLock } from '../block/range-lock.js';
import { iscsiNameKey } from '../iscsi/iscsi-name.js';
import type { ScsiDisk } from '../disk/scsi-disk.js';
import { compareIdentities } from '../disk/identity.js';

/** A logical unit that one or several exports of this process use, each with its own session and disk. */
export interface SharedUnit {
  /** The name of the unit's first export. All processes over the same exports use the same name. */
  readonly name: string;
  /** The lock of all these exports: it orders overlapping requests from any of them. */
  readonly lock: RangeLock;
  /** The exports' disks. */
  readonly disks: ReadonlySet<ScsiDisk>;
}

interface Entry extends SharedUnit {
  readonly disks: Set<ScsiDisk>;
  readonly portName: string;
}

/** The logical units of this process. Two exports, or two URLs, may lead to the same unit: its identity shows that. */
export class UnitRegistry {
  readonly #entries: Entry[] = [];

  /** The unit of `disk`. `portName`, the target's name and the LUN, stands for the identity of a unit without one. */
  join(disk: ScsiDisk, exportName: string, portName: string): SharedUnit {
    const known = this.#entries.find((entry) => isSameUnit(entry, disk, portName));
    if (known === undefined) {
      const entry = { name: exportName, lock: new RangeLock(), disks: new Set([disk]), portName };
      this.#entries.push(entry);
      return entry;
    }
    known.disks.add(disk);
    // A flush through one disk covers writes through the others.
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
