import { join } from 'node:path';
import type { Guest } from './guest.js';
import { guestFolder } from './project.js';

/** Writes files, links and folders of many kinds and sizes, of random content, about `mib` MiB in all. */
export async function writeTree(guest: Guest, folder: string, mib = 24): Promise<void> {
  await guest.must(process.execPath, join(guestFolder, 'write-tree.mjs'), folder, String(mib));
}

/** One line per entry with everything that must survive: type, mode, size, link target, attributes, content's digest. */
export async function describeTree(guest: Guest, folder: string): Promise<string> {
  return guest.must('bash', join(guestFolder, 'describe-tree.sh'), folder);
}
