/**
 * Attach, use and detach, again and again, in the ways that Linux's nbd driver has a time limit for: the driver must not log
 * that a connection timed out. qemu-nbd is the control: what happens with it too is not ours. `ISER_NBD_ATTACHES` has it
 * go on for as long as wanted.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { Program } from '../interop/program.js';
import { NbdDevice, loadNbd } from './lab/nbd-device.js';
import { makeFileSystem } from './file-systems.js';
import { describeWithGuest } from './suite.js';

const ATTACHES = Number(process.env['ISER_NBD_ATTACHES'] ?? 4);
const SECONDS_EACH = 30;
/** Below, the driver does not wait long enough for a host that is busy. */
const TIMEOUT_SECONDS = 6;

describeWithGuest(
  'attaching /dev/nbd0 of Linux again and again',
  () => ({}),
  (suite) => {
    let control: ChildProcess | null = null;
    let ours: Program | null = null;

    beforeAll(() => loadNbd(suite.guest), 60_000);
    afterEach(async () => {
      await ours?.stop();
      ours = null;
      if (control === null) return;
      const ended = once(control, 'exit');
      control.kill();
      await ended;
      control = null;
    });

    const servers = {
      'our server': async (): Promise<string> => {
        const args = ['serve', '--listen', '127.0.0.1:0', '--export', 'disk=memory:64M'];
        ours = await Program.start(args, 1);
        return ours.ready[0] ?? '';
      },
      'qemu-nbd': async (): Promise<string> => {
        const image = suite.files.path('control.img');
        await once(spawn('truncate', ['-s', '64M', image]), 'exit');
        const port = await freePort();
        const args = [
          '-f',
          'raw',
          '-t',
          '-e',
          '8',
          '-x',
          'disk',
          '-b',
          '127.0.0.1',
          '-p',
          `${port}`,
        ];
        control = spawn('qemu-nbd', [...args, image], { stdio: 'inherit' });
        return `nbd://127.0.0.1:${port}/disk`;
      },
    };

    it.each(
      Object.keys(servers).flatMap((name) =>
        [1, 2].map((connections) => [name as keyof typeof servers, connections] as const),
      ),
    )(
      `to %s over %i connections, ${ATTACHES} times, is in time`,
      { timeout: ATTACHES * SECONDS_EACH * 1000 + 60_000 },
      async (name, connections) => {
        const uri = await servers[name]();
        const options = { connections, timeoutSeconds: TIMEOUT_SECONDS };
        let slowestMs = 0;
        for (let count = 0; count < ATTACHES; count++) {
          const startMs = Date.now();
          const device = await NbdDevice.attach(suite.guest, uri, options);
          await makeFileSystem(suite.guest, 'ext4', device.path);
          await device.detach();
          slowestMs = Math.max(slowestMs, Date.now() - startMs);
        }
        console.log(`${name}, ${connections} connections: the slowest took ${slowestMs} ms`);
        expect(slowestMs).toBeGreaterThan(0);
      },
    );

    it.each(Object.keys(servers) as (keyof typeof servers)[])(
      'says that a connection timed out when %s stands still for longer than the limit',
      async (name) => {
        suite.kernelMaySay(
          /nbd0: Connection timed out, retrying/,
          /nbd0|block nbd|I\/O error|Buffer I/,
        );
        const { guest } = suite;
        const uri = await servers[name]();
        const options = { connections: 2, timeoutSeconds: TIMEOUT_SECONDS };
        const device = await NbdDevice.attach(guest, uri, options);
        const said = new Promise<void>((resolve) => {
          guest.log.onMessage((text) => {
            if (/Connection timed out, retrying/.test(text)) resolve();
          });
        });
        const pid = ours?.pid ?? control?.pid ?? 0;
        process.kill(pid, 'SIGSTOP');
        const read = guest.run([
          'dd',
          `if=${device.path}`,
          'of=/dev/null',
          'count=1',
          'iflag=direct',
          'bs=4k',
        ]);
        await said.finally(() => process.kill(pid, 'SIGCONT'));
        await read;
        await device.detach();
      },
    );
  },
);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
