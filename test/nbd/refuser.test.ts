import { afterEach, describe, expect, it } from 'vitest';
import { REFUSALS_MAX, REFUSAL_MS } from '../../src/nbd/limits.js';
import { OPT, infoData, option, u32 } from '../support/nbd/client.js';
import type { NbdTestClient } from '../support/nbd/client.js';
import { NbdBed } from '../support/nbd/bed.js';
import type { NbdAddress } from '../../src/nbd/socket.js';
import { until } from '../support/waiting.js';

const [ACK, ERR_POLICY] = [1, 0x80000002];
let bed: NbdBed;

afterEach(() => bed.dispose());

/** A server that has all the clients that it takes. */
async function full(): Promise<NbdAddress> {
  bed = new NbdBed({ limits: { connectionsMax: 1 } });
  const address = await bed.listenTcp();
  await bed.attach(address);
  return address;
}

async function greeted(address: NbdAddress): Promise<NbdTestClient> {
  const client = await bed.connect(address);
  expect((await client.greet()).toString('latin1', 0, 8)).toBe('NBDMAGIC');
  return client;
}

describe('a client that is one too many', () => {
  it('is greeted, told why by each option, and closed on', async () => {
    const client = await greeted(await full());
    const options = [...Object.values(OPT).filter((number) => number > OPT.abort), 99];
    client.send(...options.map((number) => option(number, infoData('disk'))));
    for (const number of options) {
      const [reply, ...more] = await client.optionReplies();
      expect(reply).toMatchObject({ option: number, type: ERR_POLICY });
      expect(reply?.data.toString()).toMatch(/limits.connections is 1$/);
      expect(more).toEqual([]);
    }
    bed.clock.advance(REFUSAL_MS);
    await client.ended;
    expect(bed.counter('nbd_connections_refused_total')).toBe(1);
    expect(bed.server.connectionCount).toBe(1);
  });

  it('may abort', async () => {
    const client = await greeted(await full());
    client.send(option(OPT.abort));
    expect(await client.optionReplies()).toMatchObject([{ option: OPT.abort, type: ACK }]);
    await client.ended;
  });

  it('cannot be told by EXPORT_NAME, and is closed on', async () => {
    const client = await greeted(await full());
    client.send(option(OPT.exportName, Buffer.from('disk')));
    await expect(client.read(1)).rejects.toThrow(/closed/);
  });

  it('is closed on when it does not go on', async () => {
    const address = await full();
    const clients = [await bed.connect(address), await greeted(address)];
    await until(() => bed.counter('nbd_connections_refused_total') === 2);
    bed.clock.advance(REFUSAL_MS);
    await Promise.all(clients.map((client) => client.ended));
  });

  it('is closed on at once when many are', async () => {
    const address = await full();
    const clients: NbdTestClient[] = [];
    for (let count = 0; count < REFUSALS_MAX + 5; count++) clients.push(await bed.connect(address));
    for (const client of clients.slice(REFUSALS_MAX)) {
      await expect(client.read(1)).rejects.toThrow(/closed/);
    }
    for (const client of clients.slice(0, REFUSALS_MAX)) await client.read(18);
    // There is room for another one when one has gone.
    await clients[0]!.close();
    let told = false;
    while (!told) {
      const client = await bed.connect(address);
      told = await client.read(18).then(
        () => true,
        () => false,
      );
    }
  });

  it('is closed on when the server stops, without holding it up', async () => {
    const client = await greeted(await full());
    const closing = bed.server.close({ drainMs: 0 });
    await client.ended;
    await closing;
  });

  it('may come again when one has gone', async () => {
    bed = new NbdBed({ limits: { connectionsMax: 1 } });
    const address = await bed.listenTcp();
    const first = await bed.attach(address);
    const refused = await greeted(address);
    await first.close();
    await until(() => bed.server.connectionCount === 0);
    // What was refused stays so.
    refused.send(option(OPT.go, infoData('disk')));
    expect(await refused.optionReplies()).toMatchObject([{ type: ERR_POLICY }]);
    await bed.attach(address);
  });

  it('is cut off for flags that do not exist', async () => {
    const client = await bed.connect(await full());
    await client.read(18);
    client.send(u32(0xffff_ffff));
    await client.ended;
  });
});
