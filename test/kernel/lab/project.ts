import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout: the nearest folder above this file that holds package.json, also where this file is compiled. */
export const projectFolder = findProject(dirname(fileURLToPath(import.meta.url)));

/** What the lab downloads and builds, once per kernel version. */
export const cacheFolder = join(projectFolder, '.cache', 'kernel-lab');

/** The files that run inside the guest, which sees this checkout at the same path. */
export const guestFolder = join(projectFolder, 'test', 'kernel', 'lab', 'guest');

function findProject(folder: string): string {
  const manifest = join(folder, 'package.json');
  if (existsSync(manifest)) {
    const { name } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string };
    if (name === 'iser-nbd') return folder;
  }
  const parent = dirname(folder);
  if (parent === folder) throw new Error('not inside a checkout of iser-nbd');
  return findProject(parent);
}
