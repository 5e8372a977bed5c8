import { afterEach, describe, expect, it, vi } from 'vitest';
import { busyPoller } from '../../src/socket/busy-poll.js';
import { systemClock } from '../../src/common/clock.js';
import { Gateway } from '../../src/gateway/gateway.js';
import { formatAddress } from '../../src/common/address.js';
import { parseExportUrl } from '../../src/gateway/url.js';
import { CounterSet } from '../../src/observe/counters.js';
import { silentLogger } from '../../src/observe/log.js';
import { MemoryStore } from '../../src/store/memory-store.js';
import { TargetPortal } from '../../src/target/session/portal.js';
import { IwarpTransport } from '../../src/transport/iwarp/transport.js';
import { CMD, NbdTestClient } from '../support/nbd/client.js';
import { turn, until } from '../support/waiting.js';

const MIB = 1 << 20;
const NAME = 'iqn.2026-11.io.example:lab';
const ends: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const end of ends.splice(0).reverse()) await end();
  busyPoller.windowUs = 0;
});

async function startTarget(): Promise<string> {
  const store = new MemoryStore({ sizeBytes: MIB, blockBytes: 512, readOnly: false });
  const portal = new TargetPortal({ transport: new IwarpTransport(), name: NAME, luns: [store] });
  const address = await portal.listen({ host: '127.0.0.1', port: 0 });
  ends.push(() => portal.close());
  return `iser://${formatAddress(address)}/${NAME}/0`;
}

async function attach(url: string, pollUs: number): Promise<NbdTestClient> {
  const gateway = await Gateway.start(
    {
      exports: [
        {
          name: 'a',
          url: parseExportUrl(url),
          description: '',
          readOnly: false,
          credentials: null,
        },
      ],
      listen: [{ host: '127.0.0.1', port: 0 }],
      pollUs,
      initiatorName: 'iqn.2026-11.io.example:initiator',
    },
    { log: silentLogger, clock: systemClock, counters: new CounterSet() },
  );
  ends.push(() => gateway.stop(silentLogger));
  const { hostname, port } = new URL((gateway.uris[0] ?? '').replace('nbd:', 'http:'));
  const client = await NbdTestClient.attach({ host: hostname, port: Number(port) }, 'a');
  ends.push(() => client.close());
  return client;
}

describe.each([0, 20, 1000])('a gateway that polls for %i µs', (pollUs) => {
  it.each(['embedded', 'over iWARP'])('reads what was written, %s', async (where) => {
    const client = await attach(where === 'embedded' ? 'memory:1M' : await startTarget(), pollUs);
    for (let round = 0; round < 60; round++) {
      const offset = (round * 4096 * 7) % (MIB - 4096);
      const data = Buffer.alloc(4096, `round ${round} `);
      expect((await client.call({ command: CMD.write, offset, data })).error).toBe(0);
      expect(await client.call({ command: CMD.read, offset, length: 4096 })).toEqual({
        error: 0,
        data,
      });
    }
  });
});

describe('a gateway that polls', () => {
  it('turns its loop only until the window behind the last byte has passed', async () => {
    // From the start, as a machine that is busy is one more reason not to poll.
    let nowMs = 1000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const client = await attach('memory:1M', 50);
    const turns = vi.spyOn(globalThis, 'setImmediate');
    for (let round = 0; round < 3; round++) {
      expect((await client.call({ command: CMD.read, offset: 0, length: 512 })).error).toBe(0);
    }
    await until(() => turns.mock.calls.length >= 50);
    nowMs += 0.0625;
    await turn();
    await turn();
    const asleep = turns.mock.calls.length;
    for (let round = 0; round < 50; round++) await turn();
    expect(turns.mock.calls.length).toBe(asleep);
    // One window has passed in vain, so that the second arrival from now opens the next one.
    for (let round = 0; round < 2; round++) {
      expect((await client.call({ command: CMD.read, offset: 0, length: 512 })).error).toBe(0);
    }
    expect(turns.mock.calls.length).toBeGreaterThan(asleep);
  });
});
