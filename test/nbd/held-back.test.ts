/** A client that is held back can go away meanwhile, with requests of its own still unread. */
import { afterEach, describe, expect, it } from 'vitest';
import { HELD_BACK_MS } from '../../src/nbd/limits.js';
import type { NbdAddress } from '../../src/nbd/socket.js';
import { NbdBed } from '../support/nbd/bed.js';
import { CMD, parseSimpleReply, request } from '../support/nbd/client.js';
import type { NbdTestClient } from '../support/nbd/client.js';
import { settle, until } from '../support/waiting.js';

const BLOCK = 4096;
const PLACE = 64 * BLOCK;
const IN_FLIGHT = 4;

let bed: NbdBed;

afterEach(() => bed.dispose());

const write = (offset: number, fill: string): Buffer =>
  Buffer.concat([
    request({ command: CMD.write, offset, length: BLOCK }),
    Buffer.alloc(BLOCK, fill),
  ]);

/** A client whose requests fill its places at the disk, so that its next write, to `PLACE`, is not begun. */
async function heldBack(address: NbdAddress): Promise<NbdTestClient> {
  const client = await bed.attach(address);
  bed.device.holds = true;
  for (let index = 0; index < IN_FLIGHT; index++) client.send(write(index * BLOCK, 'a'));
  await until(() => bed.device.held.length === IN_FLIGHT);
  client.send(write(PLACE, 'old'));
  await until(() => bed.counter('nbd_stalls_total', { export: 'disk' }) > 0);
  return client;
}

const contents = (): string => bed.device.bytes.toString('latin1', PLACE, PLACE + 3);

describe.each([
  ['TCP', () => bed.listenTcp()],
  ['a Unix socket', () => bed.listenUnix()],
])('a client on %s that was held back for long', (_, listen) => {
  it('has nothing done that it left unread when it went away', async () => {
    bed = new NbdBed({ limits: { inFlightMax: IN_FLIGHT } });
    const address = await listen();
    const client = await heldBack(address);
    client.socket.destroy();
    await client.closed;
    bed.clock.advance(HELD_BACK_MS);

    const later = await bed.attach(address);
    const place = bed.device.held.length;
    later.send(write(PLACE, 'new'));
    await until(() => bed.device.held.length > place);
    bed.device.complete(place);
    expect(parseSimpleReply(await later.read(16)).error).toBe(0);
    expect(contents()).toBe('new');

    bed.device.holds = false;
    bed.device.completeAll();
    await until(() => bed.server.connectionCount === 1);
    await settle();
    expect(contents()).toBe('new');
  });

  it('has nothing done that it left unread when the server stops', async () => {
    bed = new NbdBed({ limits: { inFlightMax: IN_FLIGHT } });
    const client = await heldBack(await listen());
    client.socket.destroy();
    await client.closed;
    bed.clock.advance(HELD_BACK_MS);
    const stopped = bed.server.close({ drainMs: 60_000 });
    bed.device.holds = false;
    bed.device.completeAll();
    await stopped;
    expect(contents()).toBe('\0\0\0');
  });

  it('goes on where it was when it is still there', async () => {
    bed = new NbdBed({ limits: { inFlightMax: IN_FLIGHT } });
    const client = await heldBack(await listen());
    bed.clock.advance(HELD_BACK_MS);
    bed.device.holds = false;
    bed.device.completeAll();
    for (let index = 0; index <= IN_FLIGHT; index++) {
      expect(parseSimpleReply(await client.read(16)).error).toBe(0);
    }
    expect(contents()).toBe('old');
  });

  it('has all of it done when it was held back shortly, and has only closed its half', async () => {
    bed = new NbdBed({ limits: { inFlightMax: IN_FLIGHT } });
    const client = await heldBack(await listen());
    client.socket.end();
    bed.clock.advance(HELD_BACK_MS - 1);
    bed.device.holds = false;
    bed.device.completeAll();
    for (let index = 0; index <= IN_FLIGHT; index++) {
      expect(parseSimpleReply(await client.read(16)).error).toBe(0);
    }
    expect(contents()).toBe('old');
  });
});
