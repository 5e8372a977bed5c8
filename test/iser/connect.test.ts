import { afterEach, describe, expect, it } from 'vitest';
import { IserConnectionError } from '../../src/iser/errors.js';
import { COMMANDS_MAX } from '../../src/iser/limits.js';
import { LINUX_TARGET } from '../../src/iser/target-profile.js';
import { IserBed } from '../support/iser/upper-layer.js';
import type { IserBedOptions } from '../support/iser/upper-layer.js';
import { settle } from '../support/waiting.js';

let bed: IserBed | null = null;

afterEach(async () => {
  await bed?.close();
  bed = null;
});

async function failureOf(promise: Promise<unknown>): Promise<IserConnectionError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(IserConnectionError);
  return error as IserConnectionError;
}

async function listening(options?: IserBedOptions): Promise<IserBed> {
  bed = await IserBed.listening(options);
  return bed;
}

async function connected(options?: IserBedOptions): Promise<IserBed> {
  bed = await IserBed.connected(options);
  return bed;
}

describe('connecting', () => {
  it('offers what Linux offers: no zero-based addresses, IRD as deep as the device allows, ORD 1', async () => {
    const { far, connection } = await connected();
    expect([...far.offered.privateData]).toEqual([0x80, 0, 0, 0]);
    expect(far.offered.responderResources).toBe(128);
    expect(far.offered.initiatorDepth).toBe(1);
    expect(connection.state).toBe('up');
    expect(connection.sendWithInvalidate).toBe(true);
  });

  it('never offers more read depth than the device has', async () => {
    const { far } = await connected({ device: { readDepthResponderMax: 4 } });
    expect(far.offered.responderResources).toBe(4);
  });

  it.each([
    ['the device cannot be invalidated remotely', { device: { remoteInvalidate: false } }],
    ['regions are shared', { module: { registration: 'pool' as const } }],
    ['the device has no fast registration', { device: { fastRegistration: false } }],
  ])('refuses Send with Invalidate when %s', async (_, options) => {
    const { far, connection } = await connected(options);
    expect([...far.offered.privateData]).toEqual([0xc0, 0, 0, 0]);
    expect(connection.sendWithInvalidate).toBe(false);
  });

  it.each([
    ['denies it', Uint8Array.of(0xc0, 0, 0, 0)],
    ['says nothing', new Uint8Array(0)],
  ])('does not expect Send with Invalidate when the target %s', async (_, privateData) => {
    const { connection } = await connected({ peer: { privateData } });
    expect(connection.sendWithInvalidate).toBe(false);
  });

  it('says what it can carry', async () => {
    const { connection } = await connected();
    expect(connection.limits).toEqual({
      transferBytesMax: 16 * 1024 * 1024,
      countsDataIn: true,
      immediateBytesMax: 8192,
      controlDataBytesMax: 8192,
      receiveDataBytesMax: 8192,
      tasksMax: 128,
      controlPdusMax: 6,
      readBytesOutstandingMax: 8 * 1024 * 1024,
      writeBytesOutstandingMax: 8 * 1024 * 1024,
      receivesPerAbort: 1,
    });
  });

  it('carries no more than a device with small limits can', async () => {
    const device = { workRequestsMax: 256, fastRegistrationBytesMax: 65536 };
    const { connection } = await connected({ device });
    expect(connection.limits.transferBytesMax).toBe(65536);
    expect(connection.limits.tasksMax).toBe(37);
    expect(() => connection.allocateTasks(38)).toThrow('tasksMax');
  });

  it('takes no more tasks than the caller sized it for', async () => {
    const { connection } = await connected({ connect: { commandsMax: 7 } });
    expect(connection.limits.tasksMax).toBe(7);
  });
});

describe('a connection that does not come up', () => {
  it('is unreachable when nobody listens', async () => {
    const { peer, module } = await listening();
    const address = { host: peer.address.host, port: peer.address.port + 1 };
    const error = await failureOf(bed!.connect({ address }));
    expect(error.code).toBe('iser-unreachable');
    expect(error.message).toContain(`target:${address.port}`);
    expect(module.deviceCount).toBe(0);
    expect(module.connections.size).toBe(0);
  });

  it('has no address when there is none', async () => {
    await listening();
    const error = await failureOf(bed!.connect({ address: { host: '', port: 3260 } }));
    expect(error.code).toBe('iser-address');
  });

  it('is rejected when the target rejects it', async () => {
    const { module } = await listening({ peer: { admission: 'reject' } });
    const error = await failureOf(bed!.connect());
    expect(error.code).toBe('iser-rejected');
    expect(module.deviceCount).toBe(0);
  });

  it('times out when the target does not answer, and leaves nothing behind', async () => {
    const { module, clock } = await listening({ peer: { admission: 'ignore' } });
    const attempt = failureOf(bed!.connect({ timeouts: { connectMs: 3000 } }));
    await settle();
    clock.advance(2999);
    await settle();
    expect(module.connections.size).toBe(1);
    clock.advance(1);
    const error = await attempt;
    expect(error.code).toBe('iser-timed-out');
    expect(error.message).toContain('3 s');
    expect(module.connections.size).toBe(0);
    expect(module.deviceCount).toBe(0);
    expect(clock.armedCount).toBe(0);
  });

  it('is cancelled when the module ends first', async () => {
    const { module, clock } = await listening({ peer: { admission: 'ignore' } });
    const attempt = failureOf(bed!.connect());
    await settle();
    await module.terminateAll();
    expect((await attempt).code).toBe('iser-cancelled');
    expect(module.deviceCount).toBe(0);
    expect(clock.armedCount).toBe(0);
  });

  it('lacks resources when the device has next to none', async () => {
    await listening({ device: { workRequestsMax: 64 } });
    const error = await failureOf(bed!.connect());
    expect(error.code).toBe('iser-resources');
    expect(error.message).toContain('64 work requests');
    expect(bed!.module.deviceCount).toBe(0);
  });

  it('lacks resources when the scheme that was asked for does not exist', async () => {
    await listening({ device: { fastRegistration: false }, module: { registration: 'fast' } });
    const error = await failureOf(bed!.connect());
    expect(error.code).toBe('iser-resources');
    expect(error.message).toContain('no fast registration');
    expect(bed!.module.connections.size).toBe(0);
  });
});

describe('the module', () => {
  it('shares one device between connections, and frees it with the last', async () => {
    const { module, connection } = await connected();
    const second = await bed!.connect();
    expect(module.deviceCount).toBe(1);
    expect(connection.device.referenceCount).toBe(2);
    await second.terminate();
    expect(module.deviceCount).toBe(1);
    await connection.terminate();
    expect(module.deviceCount).toBe(0);
    expect(module.connections.size).toBe(0);
  });

  it('spreads connections over as many completion contexts as CPUs and vectors allow', async () => {
    bed = await IserBed.connected({
      module: { onlineCpus: 2 },
      device: { completionVectors: 3 },
    });
    const { device } = bed.connection;
    await bed.connect();
    await bed.connect();
    expect(device.contextsUsed).toBe(2);
    expect(device.contexts.map((context) => context.activeQps).sort()).toEqual([1, 2]);
  });

  it('adds a completion context when those it has are full', async () => {
    // As long as the queues of one connection can be.
    const profile = { ...LINUX_TARGET, tasksMax: COMMANDS_MAX };
    bed = await IserBed.connected({ connect: { profile } });
    const { device } = bed.connection;
    for (let count = 1; count < 9; count++) await bed.connect();
    expect(device.contextsUsed).toBe(1);
    expect(device.contexts.map((context) => context.activeQps)).toEqual([8, 1]);
  });
});
