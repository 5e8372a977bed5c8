import { describe, expect, it } from 'vitest';
import { Access, WorkOpcode } from '../../src/transport/verbs.js';
import type { Endpoint, TestBuffer, TransportPair } from '../support/transport/pair.js';
import { ALL_ACCESS } from '../support/transport/pair.js';
import type { Remote } from '../support/transport/work.js';
import {
  fillPattern,
  invalidateWork,
  readWork,
  registerWork,
  remoteAddress,
  remoteAt,
  sendInvalidateWork,
  sendWork,
  writeWork,
} from '../support/transport/work.js';
import type { TransportContext } from './transport-suite.js';

const REGION_BYTES = 8192;

interface Violation {
  readonly title: string;
  /** Says where to reach into `victim`'s memory, and how many bytes. */
  aim(victim: Endpoint, buffer: TestBuffer): Promise<Aim> | Aim;
}

interface Aim {
  readonly remote: Remote;
  readonly length: number;
}

const violations: readonly Violation[] = [
  {
    title: 'with a key that was never issued',
    aim: (_, { region }) => ({
      remote: remoteAt(region, 0, (region.rkey ^ 0x5a5a_5a5a) >>> 0 || 1),
      length: 16,
    }),
  },
  {
    title: 'with key 0',
    aim: (_, { region }) => ({ remote: remoteAt(region, 0, 0), length: 16 }),
  },
  {
    title: 'with the key of a region that was deregistered',
    aim(_, { region }) {
      const remote = remoteAt(region);
      region.deregister();
      return { remote, length: 16 };
    },
  },
  {
    title: 'with the key of a region in another protection domain',
    aim(victim, { slab }) {
      const foreign = victim.device.allocateProtectionDomain();
      const region = victim.registerSlab(slab, ALL_ACCESS, foreign);
      return { remote: remoteAt(region), length: 16 };
    },
  },
  {
    title: 'into a region that grants the peer nothing',
    aim(victim, { slab }) {
      return { remote: remoteAt(victim.registerSlab(slab, Access.localWrite)), length: 16 };
    },
  },
  {
    title: 'one byte past the end of the region',
    aim: (_, { region }) => ({ remote: remoteAt(region, REGION_BYTES - 15), length: 16 }),
  },
  {
    title: 'one byte before the start of the region',
    aim: (_, { region }) => ({ remote: remoteAt(region, -1), length: 16 }),
  },
  {
    title: 'behind the end of the region',
    aim: (_, { region }) => ({ remote: remoteAt(region, REGION_BYTES), length: 1 }),
  },
  {
    title: 'with more bytes than the region has',
    aim: (_, { region }) => ({ remote: remoteAt(region), length: REGION_BYTES + 1 }),
  },
  {
    title: '2^32 bytes away from the region',
    aim: (_, { region }) => ({ remote: remoteAt(region, 2 ** 32), length: 16 }),
  },
  {
    title: 'at address 0',
    aim: (_, { region }) => ({ remote: remoteAddress(region.rkey, 0n), length: 16 }),
  },
  {
    title: 'across the end of the address space',
    aim: (_, { region }) => ({
      remote: remoteAddress(region.rkey, 0xffff_ffff_ffff_fff8n),
      length: 16,
    }),
  },
];

const fastViolations: readonly Violation[] = [
  {
    title: 'with the key of a fast region whose REG_MR has not been posted',
    aim(victim) {
      const fast = victim.allocateFastRegion(REGION_BYTES);
      const key = fast.nextKey();
      return { remote: remoteAt(fast, 0, key), length: 16 };
    },
  },
  {
    title: 'with the key of a fast region after a local invalidation',
    async aim(victim, { slab }) {
      const fast = victim.allocateFastRegion(REGION_BYTES);
      const key = fast.nextKey();
      victim.post(registerWork(fast, key, slab, ALL_ACCESS).unsignaled());
      await victim.perform(invalidateWork(key));
      return { remote: remoteAt(fast, 0, key), length: 16 };
    },
  },
  {
    title: 'with the old key of a fast region that was registered again',
    async aim(victim, { slab }) {
      const fast = victim.allocateFastRegion(REGION_BYTES);
      const oldKey = fast.nextKey();
      victim.post(registerWork(fast, oldKey, slab, ALL_ACCESS).unsignaled());
      victim.post(invalidateWork(oldKey).unsignaled());
      await victim.perform(registerWork(fast, fast.nextKey(), slab, ALL_ACCESS));
      return { remote: remoteAt(fast, 0, oldKey), length: 16 };
    },
  },
];

export function violationTests(context: TransportContext): void {
  describe('violations', () => {
    for (const violation of [...violations, ...fastViolations]) {
      it(`ends the connection for an RDMA Write ${violation.title}`, async () => {
        await tryViolation(context, violation, WorkOpcode.rdmaWrite);
      });
      it(`ends the connection for an RDMA Read ${violation.title}`, async () => {
        await tryViolation(context, violation, WorkOpcode.rdmaRead);
      });
    }

    it('does not let a Write into a region that is open for reading only', async () => {
      const pair = await context.pair();
      const buffer = pair.passive.register(REGION_BYTES, Access.remoteRead | Access.localWrite);
      await expectRefused(pair, buffer, WorkOpcode.rdmaWrite, {
        remote: remoteAt(buffer.region),
        length: 16,
      });
    });

    it('does not let a Read out of a region that is open for writing only', async () => {
      const pair = await context.pair();
      const buffer = pair.passive.register(REGION_BYTES, Access.remoteWrite | Access.localWrite);
      await expectRefused(pair, buffer, WorkOpcode.rdmaRead, {
        remote: remoteAt(buffer.region),
        length: 16,
      });
    });

    it('ends the connection when a Send meets no posted receive', async () => {
      const pair = await context.pair();
      const source = pair.active.register(64);
      pair.active.post(sendWork(source, 0, 64));
      await expectBothDisconnected(pair);
    });

    it('ends the connection when a Send is longer than the posted receive', async () => {
      const pair = await context.pair();
      const source = pair.active.register(64);
      fillPattern(source.slab.bytes, 1);
      const sink = pair.passive.register(128);
      const receive = pair.passive.receive(sink, 0, 63);
      pair.active.post(sendWork(source, 0, 64));
      await expectBothDisconnected(pair);
      expect((await receive.completion).status).not.toBe('success');
      expect(sink.slab.bytes.equals(Buffer.alloc(128))).toBe(true);
    });

    it('ends the connection when a Send would invalidate a key that does not exist', async () => {
      const pair = await context.pair();
      const source = pair.active.register(64);
      const receive = pair.passive.receive(pair.passive.register(64));
      pair.active.post(sendInvalidateWork(source, 0, 64, 0x1234_5678));
      await expectBothDisconnected(pair);
      expect((await receive.completion).status).not.toBe('success');
    });

    it('does not let a peer invalidate a plain region', async () => {
      const pair = await context.pair();
      const source = pair.active.register(64);
      const buffer = pair.passive.register(64);
      const receive = pair.passive.receive(buffer);
      pair.active.post(sendInvalidateWork(source, 0, 64, buffer.region.rkey));
      await expectBothDisconnected(pair);
      expect((await receive.completion).status).not.toBe('success');
      expect(buffer.region.isValid).toBe(true);
    });

    it('fails a Read when the connection was negotiated without any', async () => {
      const pair = await context.pair({ active: { initiatorDepth: 0 } });
      const target = pair.passive.register(64);
      const sink = pair.active.register(64);
      const work = readWork(sink, 0, 64, remoteAt(target.region));
      expect((await pair.active.perform(work)).status).not.toBe('success');
    });

    it('fails a Read into local memory that may not be written', async () => {
      const pair = await context.pair();
      const target = pair.passive.register(64);
      const sink = pair.active.register(64, Access.none);
      const work = readWork(sink, 0, 64, remoteAt(target.region));
      expect((await pair.active.perform(work)).status).toBe('localProtectionError');
      await expectBothDisconnected(pair);
    });

    it('fails a Send from local memory that is not registered any more', async () => {
      const pair = await context.pair();
      const receive = pair.passive.receive(pair.passive.register(64));
      const source = pair.active.register(64);
      source.region.deregister();
      expect((await pair.active.perform(sendWork(source, 0, 64))).status).toBe(
        'localProtectionError',
      );
      await expectBothDisconnected(pair);
      expect((await receive.completion).status).toBe('flushed');
    });

    it('fails a REG_MR whose key was not drawn for it, or whose region is still valid', async () => {
      for (const isStillValid of [false, true]) {
        const pair = await context.pair();
        if (!pair.active.device.attributes.fastRegistration) return;
        const fast = pair.active.allocateFastRegion(4096);
        const { slab } = pair.active.register(4096);
        const key = fast.nextKey();
        if (isStillValid) await pair.active.perform(registerWork(fast, key, slab, ALL_ACCESS));
        const next = isStillValid ? fast.nextKey() : (key ^ 1) >>> 0;
        const failed = await pair.active.perform(registerWork(fast, next, slab, ALL_ACCESS));
        expect(failed.status).toBe('localProtectionError');
        await expectBothDisconnected(pair);
      }
    });
  });
}

async function tryViolation(
  context: TransportContext,
  violation: Violation,
  opcode: WorkOpcode,
): Promise<void> {
  const pair = await context.pair();
  if (fastViolations.includes(violation) && !pair.passive.device.attributes.fastRegistration)
    return;
  const buffer = pair.passive.register(REGION_BYTES);
  await expectRefused(pair, buffer, opcode, await violation.aim(pair.passive, buffer));
}

/** The access fails, both sides learn of it, nothing moves, and what was posted behind it is flushed. */
async function expectRefused(
  pair: TransportPair,
  buffer: TestBuffer,
  opcode: WorkOpcode,
  aim: Aim,
): Promise<void> {
  fillPattern(buffer.slab.bytes, 77);
  const before = Buffer.from(buffer.slab.bytes);
  const own = pair.active.register(REGION_BYTES * 2);
  const ownBefore = Buffer.from(own.slab.bytes);
  const isRead = opcode === WorkOpcode.rdmaRead;
  const attempt = (isRead ? readWork : writeWork)(own, 0, aim.length, aim.remote);
  // A Read that fails is a failure here. A Write may be gone before anybody knows.
  const behind = pair.passive.receive(pair.passive.register(64));
  pair.active.post(attempt, sendWork(own, 0, 64));
  await expectBothDisconnected(pair);
  const outcome = await attempt.completion;
  if (isRead) expect(['remoteAccessError', 'flushed']).toContain(outcome.status);
  else expect(['remoteAccessError', 'flushed', 'success']).toContain(outcome.status);
  expect((await behind.completion).status).toBe('flushed');
  expect(buffer.slab.bytes.equals(before)).toBe(true);
  expect(own.slab.bytes.equals(ownBefore)).toBe(true);
  const late = sendWork(own, 0, 64);
  expect((await pair.active.perform(late)).status).toBe('flushed');
}

async function expectBothDisconnected(pair: TransportPair): Promise<void> {
  const [here, there] = await Promise.all([
    pair.active.events.next('disconnected'),
    pair.passive.events.next('disconnected'),
  ]);
  expect([here.reason, there.reason].some((reason) => reason !== null)).toBe(true);
  for (const side of [pair.active, pair.passive]) {
    expect(side.events.types.filter((type) => type === 'disconnected')).toHaveLength(1);
  }
}
