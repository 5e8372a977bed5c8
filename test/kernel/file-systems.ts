import type { Guest } from './lab/guest.js';

export type FileSystem = 'ext4' | 'xfs';

export const MOUNT_POINT = '/mnt/lab';

/** Fails where the file system is not clean; takes the device as its last argument. */
export const CHECK: Readonly<Record<FileSystem, readonly string[]>> = {
  ext4: ['e2fsck', '-f', '-n'],
  xfs: ['xfs_repair', '-n'],
};

const MAKE: Readonly<Record<FileSystem, readonly string[]>> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f'],
};

/** Gives a disk a partition table with one partition; returns the partition once the kernel has it. */
export async function partition(guest: Guest, disk: string): Promise<string> {
  await guest.script('echo ",,L" | sfdisk --quiet --wipe always -X gpt $1', disk);
  return /\d$/.test(disk) ? `${disk}p1` : `${disk}1`;
}

export async function makeFileSystem(guest: Guest, kind: FileSystem, disk: string): Promise<void> {
  await guest.must(...MAKE[kind], disk);
}

/** Mounts, when the kernel has found the partition. */
export async function mountPartition(guest: Guest, disk: string): Promise<void> {
  await guest.until(
    () => guest.exists(disk),
    (exists) => exists,
  );
  await guest.script('mkdir -p $2; mount $1 $2', disk, MOUNT_POINT);
}
