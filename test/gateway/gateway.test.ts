import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/common/clock.js';
import { Gateway } from '../../src/gateway/gateway.js';
import type { WorkerPlace } from '../../src/gateway/gateway.js';
import type { ExportConfig, ListenConfig } from '../../src/gateway/gateway-config.js';
import { formatAddress } from '../../src/common/address.js';
import type { LimitsConfig } from '../../src/gateway/limits-config.js';
import { createInitiatorContext } from '../../src/gateway/initiator-context.js';
import { openLun } from '../../src/gateway/lun.js';
import { parseExportUrl } from '../../src/gateway/url.js';
import type { AccessRule } from '../../src/nbd/access.js';
import { parseNetwork } from '../../src/nbd/network.js';
import { CounterSet } from '../../src/observe/counters.js';
import { silentLogger } from '../../src/observe/log.js';
import { MemoryStore } from '../../src/store/memory-store.js';
import { OperationCode } from '../../src/scsi/wire.js';
import { FaultPlan } from '../../src/target/session/faults.js';
import { TargetPortal } from '../../src/target/session/portal.js';
import type { TargetPortalOptions } from '../../src/target/session/portal.js';
import { IwarpTransport } from '../../src/transport/iwarp/transport.js';
import { CMD, NbdTestClient, OPT, option, request } from '../support/nbd/client.js';

const MIB = 1 << 20;
const NAME = 'iqn.2026-11.io.example:lab';
const [EPERM, EIO] = [1, 5];
const services = { log: silentLogger, clock: systemClock, counters: new CounterSet() };
const ends: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function exportOf(name: string, url: string, readOnly = false): ExportConfig {
  return { name, url: parseExportUrl(url), description: '', readOnly, credentials: null };
}

async function start(
  exports: readonly ExportConfig[],
  limits: LimitsConfig = {},
  defaultExport: string | null = null,
): Promise<Gateway> {
  const listen: ListenConfig[] = [{ host: '127.0.0.1', port: 0 }];
  const gateway = await Gateway.start(
    { exports, listen, limits, defaultExport, initiatorName: 'iqn.2026-11.io.example:initiator' },
    services,
  );
  ends.push(() => gateway.stop(silentLogger));
  return gateway;
}

async function startTarget(
  options: Partial<TargetPortalOptions> = {},
): Promise<{ url: string; portal: TargetPortal }> {
  const store = new MemoryStore({ sizeBytes: MIB, blockBytes: 512, readOnly: false });
  const transport = new IwarpTransport();
  const portal = new TargetPortal({ transport, name: NAME, luns: [store], ...options });
  const address = await portal.listen({ host: '127.0.0.1', port: 0 });
  ends.push(() => portal.close());
  return { url: `iser://${formatAddress(address)}/${NAME}/0`, portal };
}

function addressOf(gateway: Gateway): { host: string; port: number } {
  const { hostname, port } = new URL((gateway.uris[0] ?? '').replace('nbd:', 'http:'));
  return { host: hostname, port: Number(port) };
}

async function attach(gateway: Gateway, name: string): Promise<NbdTestClient> {
  const client = await NbdTestClient.attach(addressOf(gateway), name);
  ends.push(() => client.close());
  return client;
}

describe('the gateway', () => {
  it('serves embedded and remote LUNs, each under its name', async () => {
    const { url } = await startTarget();
    const gateway = await start([exportOf('near', 'memory:2M'), exportOf('far', url)]);
    expect(gateway.uris.map((uri) => uri.replace(/.*\//, ''))).toEqual(['near', 'far']);
    for (const name of ['near', 'far']) {
      const client = await attach(gateway, name);
      const data = Buffer.alloc(8192, name);
      expect((await client.call({ command: CMD.write, offset: 1000, data })).error).toBe(0);
      const answer = await client.call({ command: CMD.read, offset: 1000, length: 8192 });
      expect(answer).toEqual({ error: 0, data });
    }
  });

  it('answers EIO when a target is gone, and goes on with the other exports', async () => {
    const { url, portal } = await startTarget();
    const gateway = await start([exportOf('near', 'memory:2M'), exportOf('far', url)]);
    const far = await attach(gateway, 'far');
    const near = await attach(gateway, 'near');
    await portal.close();
    for (let round = 0; round < 3; round++) {
      expect((await far.call({ command: CMD.read, offset: 0, length: 512 })).error).toBe(EIO);
      expect((await near.call({ command: CMD.read, offset: 0, length: 512 })).error).toBe(0);
    }
  });

  it('shows no byte that a target says it sent and did not', async () => {
    const faults = new FaultPlan();
    const { url } = await startTarget({ faults });
    const gateway = await start([exportOf('near', 'memory:2M'), exportOf('far', url)]);
    const near = await attach(gateway, 'near');
    const far = await attach(gateway, 'far');
    const lengths = [4096, 65536, MIB];
    for (const [index, length] of lengths.entries()) {
      const data = Buffer.alloc(length, 'TOPSECRET');
      expect((await near.call({ command: CMD.write, offset: 0, data })).error).toBe(0);
      expect((await near.call({ command: CMD.read, offset: 0, length })).error).toBe(0);
      faults.withholdNext(1, index === 0 ? 0 : length - 1, { opcode: OperationCode.read16 });
      expect((await far.call({ command: CMD.read, offset: 0, length })).error).toBe(EIO);
      const answer = await far.call({ command: CMD.read, offset: 0, length });
      expect(answer).toEqual({ error: 0, data: Buffer.alloc(length) });
    }
  });

  it('has all LUNs of a kind on one RDMA device, which the last one frees', async () => {
    const { url } = await startTarget();
    const context = createInitiatorContext({ log: silentLogger });
    const { module } = context;
    const open = async (what: string) => {
      const lun = await openLun(parseExportUrl(what), null, context);
      ends.push(() => lun.close());
      return lun;
    };
    const near = [await open('memory:1M'), await open('memory:1M')];
    expect([module.deviceCount, module.connections.size]).toEqual([1, 2]);
    const far = [await open(url), await open(`${url}?fpdu=1400`)];
    expect([module.deviceCount, module.connections.size]).toEqual([2, 4]);
    const users = [...module.connections].map(({ device }) => device.referenceCount);
    expect(users).toEqual([2, 2, 2, 2]);
    await near[0]?.close();
    expect(module.deviceCount).toBe(2);
    await near[1]?.close();
    expect(module.deviceCount).toBe(1);
    for (const lun of far) await lun.close();
    expect([module.deviceCount, module.connections.size]).toEqual([0, 0]);
  });

  it.each([
    ['fast', true],
    ['pool', false],
  ] as const)(
    'knows whether reads are verified: %s registration',
    async (registration, expected) => {
      const context = createInitiatorContext({ log: silentLogger, registration });
      const lun = await openLun(parseExportUrl('memory:1M'), null, context);
      ends.push(() => lun.close());
      expect(lun.device.info.readsAreVerified).toBe(expected);
    },
  );

  it('does not take a LUN whose description never comes for one', async () => {
    const faults = new FaultPlan();
    const { url } = await startTarget({ faults });
    faults.withholdNext(100, 0, { opcode: OperationCode.inquiry });
    await expect(start([exportOf('far', url)])).rejects.toMatchObject({
      code: 'scsi-data-missing',
    });
  });

  it('leaves nothing open when one export cannot be had', async () => {
    const { url, portal } = await startTarget();
    const bad = exportOf('bad', url.replace(/0$/, '5'));
    await expect(start([exportOf('far', url), bad])).rejects.toMatchObject({
      code: 'scsi-no-such-lun',
    });
    await vi.waitFor(() => expect(portal.sessionCount).toBe(0));
  });

  it('logs out when it stops', async () => {
    const { url, portal } = await startTarget();
    const gateway = await start([exportOf('a', url), exportOf('b', url)]);
    expect(portal.sessionCount).toBe(2);
    await gateway.stop(silentLogger);
    await vi.waitFor(() => expect(portal.sessionCount).toBe(0));
  });

  it('lets nobody write to an export that is read-only', async () => {
    const gateway = await start([exportOf('a', 'memory:1M'), exportOf('b', 'memory:1M', true)]);
    const write = { command: CMD.write, offset: 0, data: Buffer.alloc(512, 1) };
    expect((await (await attach(gateway, 'a')).call(write)).error).toBe(0);
    const client = await attach(gateway, 'b');
    expect((await client.call(write)).error).toBe(EPERM);
    const answer = await client.call({ command: CMD.read, offset: 0, length: 512 });
    expect(answer).toEqual({ error: 0, data: Buffer.alloc(512) });
  });

  it('serves the default export to who names none', async () => {
    const exports = [exportOf('small', 'memory:1M'), exportOf('large', 'memory:2M')];
    const gateway = await start(exports, {}, 'large');
    const client = await attach(gateway, '');
    const read = { command: CMD.read, offset: MIB, length: 512 };
    expect((await client.call(read)).error).toBe(0);
  });

  it('shows an export only to those that its rule allows', async () => {
    const rule = (network: string): AccessRule => {
      return { certificates: null, psk: null, networks: [parseNetwork(network)] };
    };
    const gateway = await start([
      { ...exportOf('ours', 'memory:1M'), allow: rule('127.0.0.0/8') },
      { ...exportOf('theirs', 'memory:1M'), allow: rule('192.0.2.0/24') },
    ]);
    await attach(gateway, 'ours');
    await expect(attach(gateway, 'theirs')).rejects.toThrow();
    const client = await NbdTestClient.connect(addressOf(gateway));
    ends.push(() => client.close());
    await client.greet();
    client.send(option(OPT.list));
    const names = (await client.optionReplies()).map(({ data }) => data.toString('utf8', 4));
    expect(names).toEqual(['ours', '']);
  });

  it('takes no more connections than its limits allow', async () => {
    const gateway = await start([exportOf('a', 'memory:1M')], { connections: 2 });
    await attach(gateway, 'a');
    const second = await attach(gateway, 'a');
    await expect(attach(gateway, 'a')).rejects.toThrow();
    await second.close();
    await vi.waitFor(async () => void (await attach(gateway, 'a')));
  });

  it('has as much memory for requests as its limits allow', async () => {
    const gateway = await start([exportOf('crowded', 'memory:32M')], {
      bytesInFlightTotal: 1024 * MIB,
      contendedStallSeconds: 3600,
    });
    const read = { command: CMD.read, length: 32 * MIB };
    const idlers = [await attach(gateway, 'crowded'), await attach(gateway, 'crowded')];
    for (const idler of idlers) {
      idler.socket.pause();
      idler.send(request(read));
    }
    await vi.waitFor(async () => {
      const { counters } = await gateway.report();
      expect(counters['nbd_requests_total{command="READ",export="crowded"}']).toBe(2);
    });
    // By default, clients of one address do not get a third buffer of this length while two keep theirs.
    expect((await (await attach(gateway, 'crowded')).call(read)).error).toBe(0);
  });

  it('refuses two exports of one name', async () => {
    const twice = [exportOf('a', 'memory:1M'), exportOf('a', 'memory:1M')];
    await expect(start(twice)).rejects.toMatchObject({ code: 'export-twice' });
  });
});

describe('a gateway that is one of several', () => {
  it('serves clients that were accepted elsewhere, at any byte, and tells when they are gone', async () => {
    const { url, portal } = await startTarget();
    const released: number[] = [];
    const place: WorkerPlace = {
      tlsContents: null,
      units: {},
      busy: () => undefined,
      over: () => undefined,
      onReleased: (conn) => released.push(conn),
      onWritesLost: () => undefined,
      onDiskLost: () => undefined,
    };
    const gateway = await Gateway.start(
      { exports: [exportOf('far', url)], listen: [], initiatorName: 'iqn.2026-11.io.example:i' },
      { ...services, counters: new CounterSet() },
      place,
    );
    ends.push(() => gateway.stop(silentLogger));
    expect([gateway.uris, portal.sessionCount]).toEqual([[], 1]);
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    ends.push(() => new Promise((resolve) => server.close(() => resolve())));
    server.on('connection', (socket: Socket) =>
      gateway.serve({ socket, address: '127.0.0.1' }, 77),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const client = await NbdTestClient.attach({ host: '127.0.0.1', port }, 'far');
    const errorOf = async (offset: number, bytes: number): Promise<number> =>
      (await client.call({ command: CMD.write, offset, data: Buffer.alloc(bytes) })).error;
    expect([await errorOf(512, 512), await errorOf(1, 512), await errorOf(0, 100)]).toEqual([
      0, 0, 0,
    ]);
    expect((await client.call({ command: CMD.flush })).error).toBe(0);
    gateway.loseWrites('other', 'of no concern');
    expect((await client.call({ command: CMD.flush })).error).toBe(0);
    gateway.loseWrites('far', 'power on');
    expect((await client.call({ command: CMD.flush })).error).toBe(EIO);
    expect((await gateway.report()).counters['nbd_connections_total']).toBe(1);
    await client.close();
    await vi.waitFor(() => expect(released).toEqual([77]));
  });
});
