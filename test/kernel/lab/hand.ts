import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Guest } from './guest.js';
import { explain } from './host-command.js';
import { bootGuest, prepareLab } from './lab.js';
import { LioTarget } from './lio.js';
import { loadNbd } from './nbd-device.js';
import { addSoftIwarp } from './soft-iwarp.js';

const NAME = 'iqn.2026-11.io.example.lab:lio';

/** The lab by hand: a guest with an LIO target, a shell in it line by line, and its kernel's log, until Ctrl-C. */
export async function runLab(): Promise<void> {
  const lab = await prepareLab((line) => console.log(line));
  if ('missing' in lab) {
    console.error(`there is no kernel lab here, because ${lab.missing}`);
    process.exitCode = 1;
    return;
  }
  console.log(`booting Linux ${lab.kernel.release}`);
  const guest = await bootGuest(lab);
  try {
    await addSoftIwarp(guest);
    await loadNbd(guest);
    const target = await LioTarget.create(guest, {
      name: NAME,
      luns: [
        { kind: 'ramdisk', mib: 128 },
        { kind: 'file', mib: 512 },
      ],
    });
    console.log(howTo(target));
    guest.log.onMessage((text) => console.log(text));
    const interrupted = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
    await Promise.race([interrupted, shell(guest), guest.lost]);
  } finally {
    process.stdin.destroy();
    await guest.stop();
  }
}

/** Runs each line of standard input in the guest; ends with it, unless it is no terminal. */
async function shell(guest: Guest): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    const finished = await guest.run(['bash', '-c', line]);
    process.stdout.write(finished.stdout);
    if (finished.status === 0) process.stderr.write(finished.stderr);
    else console.error(explain([line], { ...finished, stdout: '' }));
  }
  if (!process.stdin.isTTY) await new Promise<never>(() => undefined);
}

function howTo(target: LioTarget): string {
  const [ram, file] = [target.url(0), target.url(1)];
  const portal = ram.replace(/\/iqn.*/, '');
  return [
    '',
    'an LIO target (ib_isert over soft-iWARP) is ready:',
    `  ${ram}   128 MiB of memory`,
    `  ${file}   512 MiB, thin`,
    'try:',
    `  node dist/cli/main.js discover ${portal}`,
    `  node dist/cli/main.js info '${file}'`,
    `  node dist/cli/main.js serve --export ram='${ram}' --export thin='${file}'`,
    'From the guest, this machine is 10.0.2.2: what listens on 127.0.0.1 here is there.',
    '  nbd-client -N ram 10.0.2.2 10809 /dev/nbd0      with "serve" running here',
    'A line typed here runs in the guest as root; its kernel log shows here too. Ctrl-C powers it off.',
    '',
  ].join('\n');
}
