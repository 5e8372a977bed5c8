import { expect } from 'vitest';
import type { Guest } from './lab/guest.js';

/** Writes and verifies a block device of the guest with fio; `args` override. */
export async function fioInGuest(guest: Guest, disk: string, ...args: string[]): Promise<void> {
  const said = await guest.must(
    'fio',
    ...['--name=verify', `--filename=${disk}`, '--ioengine=libaio', '--direct=1', '--iodepth=32'],
    ...['--rw=randwrite', '--size=32M', '--verify=crc32c', '--do_verify=1', '--verify_fatal=1'],
    ...['--randrepeat=0', '--end_fsync=1', ...args],
  );
  expect(said).toMatch(/err= 0/);
}

/** Fills a disk with random bytes, discards all of it, and sees zeroes. */
export async function discard(guest: Guest, disk: string, ...args: string[]): Promise<void> {
  await guest.script('head -c "$(blockdev --getsize64 $1)" /dev/urandom > $1; sync', disk);
  await guest.must('blkdiscard', ...args, disk);
  await expectZeroes(guest, disk);
}

export async function expectZeroes(guest: Guest, disk: string): Promise<void> {
  await guest.script('cmp -n "$(blockdev --getsize64 $1)" $1 /dev/zero', disk);
}
