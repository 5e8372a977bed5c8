import { afterEach, describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';
import { CMD, OPT, infoData, option, request } from '../support/nbd/client.js';
import type { NbdTestClient } from '../support/nbd/client.js';
import { NbdBed } from '../support/nbd/bed.js';
import { until } from '../support/waiting.js';

const ACK = 1;
const ERR_UNKNOWN = 0x80000006;
const ERR_SHUTDOWN = 0x80000007;
const MIB = 1024 * 1024;

let bed: NbdBed;

afterEach(() => bed.dispose());

async function greeted(): Promise<NbdTestClient> {
  bed = new NbdBed();
  const client = await bed.connect(await bed.listenUnix());
  await client.greet();
  return client;
}

/** The device answers when `finish` or `fail` is called. */
function holdRefresh() {
  let finish = (): void => undefined;
  let fail = (): void => undefined;
  bed.device.refreshing = new Promise((resolve, reject) => {
    finish = resolve;
    fail = () => reject(new Error('another disk is there'));
  });
  bed.device.refreshing.catch(() => undefined);
  return { finish: () => finish(), fail: () => fail() };
}

/** The size that INFO and GO tell of. */
async function sizeTold(client: NbdTestClient): Promise<bigint | undefined> {
  const replies = await client.optionReplies();
  expect(replies.at(-1)?.type).toBe(ACK);
  return replies[0]?.data.readBigUInt64BE(2);
}

describe('a device that a client asks about', () => {
  it.each(['info', 'go'] as const)('is looked at before %s is answered', async (name) => {
    const client = await greeted();
    const refresh = holdRefresh();
    client.send(option(OPT[name], infoData('disk')));
    await until(() => bed.device.refreshCount === 1);
    bed.device.info = { ...bed.device.info, sizeBytes: 2 * MIB };
    refresh.finish();
    expect(await sizeTold(client)).toBe(BigInt(2 * MIB));
  });

  it('is looked at before EXPORT_NAME is answered', async () => {
    const client = await greeted();
    const refresh = holdRefresh();
    client.send(option(OPT.exportName, Buffer.from('disk')));
    await until(() => bed.device.refreshCount === 1);
    bed.device.info = { ...bed.device.info, sizeBytes: 2 * MIB };
    refresh.finish();
    expect((await client.read(10)).readBigUInt64BE(0)).toBe(BigInt(2 * MIB));
  });

  it('is refused with a sentence when it cannot be used, and the handshake goes on', async () => {
    const client = await greeted();
    const refresh = holdRefresh();
    refresh.fail();
    for (let round = 0; round < 2; round++) {
      client.send(option(OPT.go, infoData('disk')));
      const [reply] = await client.optionReplies();
      expect(reply?.type).toBe(ERR_UNKNOWN);
      expect(reply?.data.toString()).toMatch(/cannot be used now; the server log says why/);
    }
    bed.device.refreshing = Promise.resolve();
    client.send(option(OPT.go, infoData('disk')));
    expect(await sizeTold(client)).toBe(BigInt(MIB));
  });

  it('ends a connection that asked by EXPORT_NAME when it cannot be used', async () => {
    const client = await greeted();
    holdRefresh().fail();
    client.send(option(OPT.exportName, Buffer.from('disk')));
    await client.ended;
  });

  it('does not lose what a client sends without waiting for the answer', async () => {
    const client = await greeted();
    const refresh = holdRefresh();
    client.send(
      Buffer.concat([
        option(OPT.info, infoData('disk')),
        option(OPT.go, infoData('disk')),
        request({ command: CMD.read, offset: 0, length: 512, cookie: 7n }),
      ]),
    );
    await until(() => bed.device.refreshCount === 1);
    refresh.finish();
    await sizeTold(client);
    await sizeTold(client);
    expect(bed.device.refreshCount).toBe(2);
    const reply = await client.read(16 + 512);
    expect([reply.readUInt32BE(4), reply.readBigUInt64BE(8)]).toEqual([0, 7n]);
  });

  it('that does not answer in time is told of as it was known', async () => {
    const client = await greeted();
    const refresh = holdRefresh();
    client.send(option(OPT.go, infoData('disk')));
    await until(() => bed.device.refreshCount === 1);
    bed.clock.advance(DEFAULT_LIMITS.refreshMs);
    expect(await sizeTold(client)).toBe(BigInt(MIB));
    refresh.fail();
    expect((await client.call({ command: CMD.flush })).error).toBe(0);
  });

  it('is forgotten when the client leaves meanwhile', async () => {
    const client = await greeted();
    const refresh = holdRefresh();
    client.send(option(OPT.go, infoData('disk')));
    await until(() => bed.device.refreshCount === 1);
    client.socket.destroy();
    // The socket is paused: its end is seen when the device has answered.
    refresh.finish();
    await until(() => bed.server.connectionCount === 0);
    expect(bed.clock.armedCount).toBe(0);
  });

  it('is refused when the server stops meanwhile', async () => {
    const client = await greeted();
    const refresh = holdRefresh();
    client.send(option(OPT.go, infoData('disk')));
    await until(() => bed.device.refreshCount === 1);
    const closed = bed.server.close({ drainMs: 10_000 });
    await until(() => bed.clock.armedCount === 3);
    refresh.finish();
    expect((await client.optionReplies()).at(-1)?.type).toBe(ERR_SHUTDOWN);
    client.socket.destroy();
    await closed;
  });
});
