/** Clients on the host that the kernel tests share. */
import { randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { mustRunFio } from '../interop/fio.js';
import { mustRun } from '../interop/program.js';

export const MIB = 1 << 20;

/** Writes a file of random bytes. */
export function randomFile(path: string, bytes: number): string {
  writeFileSync(path, randomFillSync(Buffer.allocUnsafe(bytes)));
  return path;
}

/** Copies random bytes to an export and back, and compares all of them. */
export async function roundTrip(
  uri: string,
  path: (name: string) => string,
  bytes: number,
): Promise<void> {
  const image = randomFile(path('in.img'), bytes);
  await mustRun('nbdcopy', '--flush', image, uri);
  await mustRun('nbdcopy', uri, path('out.img'));
  await mustRun('cmp', '-n', String(bytes), image, path('out.img'));
}

/** Writes and verifies through fio's nbd engine; `args` override. */
export async function fioVerify(uri: string, ...args: string[]): Promise<void> {
  const said = await mustRunFio(
    ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--verify=crc32c'],
    ...['--do_verify=1', '--verify_fatal=1', '--randrepeat=0', '--end_fsync=1', ...args],
  );
  expect(said).toMatch(/err= 0/);
}

/** Runs qemu-io's commands on an export; every one must succeed. */
export async function qemuIo(uri: string, ...commands: string[]): Promise<void> {
  const said = await mustRun(
    'qemu-io',
    ...['-f', 'raw', '-d', 'unmap'],
    ...commands.flatMap((command) => ['-c', command]),
    uri,
  );
  expect(said).not.toMatch(/fail|error/i);
}
