import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ChapInitiator } from '../../../src/iscsi/chap.js';
import { LoginStatus } from '../../../src/iscsi/codes.js';
import { IserControlHeader, encodeControlHeader } from '../../../src/iscsi/iser-header.js';
import { CounterSet } from '../../../src/observe/counters.js';
import {
  DISCOVERY_SESSIONS_MAX,
  DISCOVERY_SESSIONS_PER_HOST_MAX,
  LOGINS_PENDING_MAX,
  LOGINS_PENDING_PER_HOST_MAX,
  TARGET_LOGIN_TIMEOUT_MS,
  REINSTATE_TIMEOUT_MS,
  SESSIONS_MAX,
  SESSIONS_PER_HOST_MAX,
  WATCHDOG_GIVE_UP_TICKS,
  WATCHDOG_PING_TICKS,
  WATCHDOG_TICK_MS,
} from '../../../src/target/session/limits.js';
import { LoginExchange } from '../../../src/target/session/login-exchange.js';
import { MemoryConnectionId } from '../../../src/transport/memory/connection-id.js';
import { SoftCompletionQueue } from '../../../src/transport/rnic/completion-queue.js';
import { VerbsError } from '../../../src/transport/verbs.js';
import { pattern, read16, testUnitReady, write16 } from '../../support/target/cdbs.js';
import { HoldingStore } from '../../support/target/holding-store.js';
import { TARGET_NAME, TargetBed } from '../../support/target/bed.js';
import { countingBytes } from '../../support/target/login.js';
import type { TestInitiator } from '../../support/target/initiator.js';
import { settle, turn, turns, until } from '../../support/waiting.js';

const WHO = { InitiatorName: 'iqn.2026-11.io.example:initiator', TargetName: TARGET_NAME };
const TO_FULL = { transit: true, nextStage: 3 };

let bed: TargetBed | null = null;
afterEach(async () => {
  await bed?.close();
  expect(bed?.portal.buffersUsed ?? 0).toBe(0);
  expect(bed?.portal.connectionCount ?? 0).toBe(0);
  bed = null;
});

const isAlive = async (initiator: TestInitiator) => {
  const { response } = await initiator.execute({ cdb: testUnitReady() });
  expect(response.status).toBe(0);
};

describe('a login over the wire', () => {
  it('is refused with its status, then the connection ends', async () => {
    const counters = new CounterSet();
    bed = await TargetBed.start({ counters });
    const initiator = await bed.connect();
    const { pdu } = await initiator.login(`${TARGET_NAME}2`);
    expect((pdu.statusClass << 8) | pdu.statusDetail).toBe(LoginStatus.targetNotFound);
    expect(await initiator.disconnected).toBeNull();
    const refused = [...counters].find(({ name }) => name === 'target_logins_refused_total');
    expect(refused?.value).toBe(1);
  });

  it('proves secrets both ways', async () => {
    const mutual = { user: 'lab', secret: Buffer.from('the-target-secret') };
    const chap = { user: 'alice', secret: Buffer.from('initiator-secret'), mutual };
    bed = await TargetBed.start({ chap });
    const initiator = await bed.connect();
    const prover = new ChapInitiator(chap, countingBytes);
    const pairs = (list: readonly { key: string; value: string }[]) =>
      Object.fromEntries(list.map(({ key, value }) => [key, value]));
    const security = { currentStage: 0 };
    const who = {
      InitiatorName: 'iqn.2026-11.io.example:initiator',
      TargetName: TARGET_NAME,
      AuthMethod: 'CHAP',
    };
    await initiator.loginStep(security, who);
    const { keys } = await initiator.loginStep(security, pairs(prover.start()));
    const proved = await initiator.loginStep(
      { ...security, transit: true, nextStage: 1 },
      pairs(prover.respond(keys)),
    );
    prover.checkProof(proved.keys);
    const { pdu } = await initiator.loginStep(
      { currentStage: 1, transit: true, nextStage: 3 },
      { RDMAExtensions: 'Yes' },
    );
    expect(pdu).toMatchObject({ statusClass: 0, transit: true });
    expect(pdu.tsih).toBeGreaterThan(0);
  });

  it('must not take for ever', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.connect();
    await initiator.loginStep(
      { currentStage: 1 },
      { InitiatorName: 'iqn.a', SessionType: 'Discovery' },
    );
    bed.clock.advance(TARGET_LOGIN_TIMEOUT_MS - 1);
    await initiator.loginStep({ currentStage: 1 }, {});
    bed.clock.advance(1);
    await initiator.disconnected;
  });

  it('finds no room when there are too many sessions', async () => {
    bed = await TargetBed.start();
    const initiators = [];
    for (let isid = 0; isid < SESSIONS_MAX; isid++) {
      const initiator = await bed.connect({ receives: 4 });
      expect((await initiator.login(TARGET_NAME, {}, isid)).pdu.statusClass).toBe(0);
      initiators.push(initiator);
    }
    const late = await bed.connect();
    const { pdu } = await late.login(TARGET_NAME, {}, SESSIONS_MAX);
    expect((pdu.statusClass << 8) | pdu.statusDetail).toBe(LoginStatus.outOfResources);
    // One that replaces a session needs no room.
    const again = await bed.connect();
    expect((await again.login(TARGET_NAME, {}, 5)).pdu.statusClass).toBe(0);
    await initiators[5]!.disconnected;
  });

  it('sends elsewhere', async () => {
    bed = await TargetBed.start({ redirect: { host: '10.1.2.3', port: 3261, isPermanent: true } });
    const initiator = await bed.connect();
    const { pdu, keys } = await initiator.login(TARGET_NAME);
    expect((pdu.statusClass << 8) | pdu.statusDetail).toBe(LoginStatus.movedPermanently);
    expect(keys.get('TargetAddress')).toBe('10.1.2.3:3261');
  });
});

describe('places', () => {
  it('are not used up by connections that never log in, whoever makes them', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    const silent: TestInitiator[] = [];
    for (let count = 0; count < LOGINS_PENDING_MAX; count++) silent.push(await bed.connect());
    const late = await bed.initiator(2);
    await silent[0]!.disconnected;
    await isAlive(initiator);
    await isAlive(late);
    bed.clock.advance(TARGET_LOGIN_TIMEOUT_MS);
    await until(() => bed!.portal.connectionCount === 2);
  });

  it('go from the longest silent connection to the next, not from one that is logging in', async () => {
    bed = await TargetBed.start();
    const slow = await bed.connect();
    const silent = await bed.connect();
    await slow.loginStep({ currentStage: 1 }, WHO);
    for (let count = 2; count < LOGINS_PENDING_MAX; count++) await bed.connect();
    await bed.connect();
    await silent.disconnected;
    const { pdu } = await slow.loginStep(
      { currentStage: 1, ...TO_FULL },
      { RDMAExtensions: 'Yes' },
    );
    expect(pdu).toMatchObject({ statusClass: 0, transit: true });
  });

  it('of one address are not all there are', async () => {
    bed = await TargetBed.start();
    const slow = await bed.connectFrom('far');
    for (let count = 0; count < 2 * LOGINS_PENDING_MAX; count++) await bed.connectFrom('near');
    const { pdu } = await slow.login(TARGET_NAME);
    expect(pdu.statusClass).toBe(0);
    await until(() => bed!.portal.connectionCount === 1 + LOGINS_PENDING_PER_HOST_MAX);
  });

  it('are not held by who is refused and does not close', async () => {
    bed = await TargetBed.start();
    for (let count = 0; count < 3 * LOGINS_PENDING_MAX; count++) {
      const refused = await bed.connect();
      expect((await refused.login(`${TARGET_NAME}2`)).pdu.statusClass).toBe(2);
    }
    await isAlive(await bed.initiator());
  });

  it('are not used up by discovery sessions', async () => {
    bed = await TargetBed.start({
      chap: { user: 'alice', secret: Buffer.from('initiator-secret') },
    });
    const sessions: TestInitiator[] = [];
    for (let count = 0; count <= DISCOVERY_SESSIONS_MAX; count++) {
      const initiator = await bed.connectFrom(`host${count}`, { receives: 4 });
      expect((await initiator.login(null, {}, count)).pdu.statusClass).toBe(0);
      sessions.push(initiator);
      // The first asks again and again, the others are silent.
      sessions[0]!.nopOut();
      await sessions[0]!.receive();
    }
    await sessions[1]!.disconnected;
    await until(() => bed!.portal.connectionCount === DISCOVERY_SESSIONS_MAX);
    expect((await sessions[0]!.text({ SendTargets: 'All' })).pairs).toHaveLength(2);
    const normal = await bed.connect();
    expect((await proveAndLogin(normal)).statusClass).toBe(0);
  });

  it('of discovery sessions are not all for one address', async () => {
    bed = await TargetBed.start();
    const far = await bed.connectFrom('far');
    await far.login(null);
    for (let count = 0; count < 2 * DISCOVERY_SESSIONS_MAX; count++) {
      const near = await bed.connectFrom('near', { receives: 4 });
      await near.login(null, {}, 100 + count);
    }
    expect((await far.text({ SendTargets: 'All' })).pairs).toHaveLength(2);
    await until(() => bed!.portal.connectionCount === 1 + DISCOVERY_SESSIONS_PER_HOST_MAX);
  });

  it('of sessions are not all for one address where nobody proves anything', async () => {
    bed = await TargetBed.start();
    for (let isid = 0; isid < SESSIONS_PER_HOST_MAX; isid++) {
      const near = await bed.connectFrom('near', { receives: 4 });
      expect((await near.login(TARGET_NAME, {}, isid)).pdu.statusClass).toBe(0);
    }
    const late = await bed.connectFrom('near');
    const { pdu } = await late.login(TARGET_NAME, {}, 1000);
    expect((pdu.statusClass << 8) | pdu.statusDetail).toBe(LoginStatus.outOfResources);
    const far = await bed.connectFrom('far');
    expect((await far.login(TARGET_NAME, {}, 1001)).pdu.statusClass).toBe(0);
  });
});

/** Logs in with the secret of the target of the discovery test. */
async function proveAndLogin(initiator: TestInitiator) {
  const prover = new ChapInitiator(
    { user: 'alice', secret: Buffer.from('initiator-secret') },
    countingBytes,
  );
  const pairs = (list: readonly { key: string; value: string }[]) =>
    Object.fromEntries(list.map(({ key, value }) => [key, value]));
  const who = { InitiatorName: 'iqn.2026-11.io.example:initiator', TargetName: TARGET_NAME };
  await initiator.loginStep({ currentStage: 0 }, { ...who, AuthMethod: 'CHAP' });
  const { keys } = await initiator.loginStep({ currentStage: 0 }, pairs(prover.start()));
  await initiator.loginStep(
    { currentStage: 0, transit: true, nextStage: 1 },
    pairs(prover.respond(keys)),
  );
  const last = await initiator.loginStep(
    { currentStage: 1, ...TO_FULL },
    { RDMAExtensions: 'Yes' },
  );
  return last.pdu;
}

describe('a discovery session', () => {
  it.each([
    ['ABORT TASK', 1],
    ['CLEAR TASK SET', 4],
    ['LOGICAL UNIT RESET', 5],
    ['TARGET WARM RESET', 6],
    ['TARGET COLD RESET', 7],
  ])('may not send %s, which would reach the others', async (_name, code) => {
    const store = new HoldingStore({ sizeBytes: 1 << 20 });
    bed = await TargetBed.start({ luns: [store] });
    const victim = await bed.initiator(1);
    store.isHolding = true;
    victim.sendCommand({ cdb: write16(0, 8), write: pattern(4096) });
    await until(() => store.held.length === 1);
    const initiator = await bed.connect();
    await initiator.login(null);
    initiator.sendTaskManagement({
      function: code,
      immediate: false,
      cmdSn: initiator.takeCmdSn(),
    });
    expect((await initiator.receive()).opcode).toBe(0x3f);
    store.release();
    expect((await victim.receiveResponse()).response.status).toBe(0);
    await isAlive(victim);
    // It goes on, with the next number.
    expect((await initiator.text({ SendTargets: 'All' })).pairs).toHaveLength(2);
  });

  it('tells the target, and does nothing else', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.connect({ smallReceives: true });
    await initiator.login(null);
    const { pairs } = await initiator.text({ SendTargets: 'All' });
    expect(pairs).toEqual([
      { key: 'TargetName', value: TARGET_NAME },
      { key: 'TargetAddress', value: 'lab:3260,1' },
    ]);
    initiator.sendCommand({ cdb: testUnitReady() });
    expect((await initiator.receive()).opcode).toBe(0x3f);
    initiator.sendLogout();
    await initiator.receive();
    expect(await bed.passTime(initiator.disconnected)).toBeNull();
  });

  it('leaves the address out when the target listens everywhere', async () => {
    bed = new TargetBed();
    bed.address = await bed.portal.listen({ host: '0.0.0.0', port: 3260 });
    const initiator = await bed.connect();
    await initiator.login(null);
    const { pairs } = await initiator.text({ SendTargets: 'All' });
    expect(pairs).toEqual([{ key: 'TargetName', value: TARGET_NAME }]);
  });
});

describe('a new login of the same initiator', () => {
  it('replaces its session', async () => {
    bed = await TargetBed.start();
    const old = await bed.initiator(1);
    const other = await bed.initiator(2);
    const fresh = await bed.initiator(1);
    await old.disconnected;
    await isAlive(fresh);
    await isAlive(other);
    expect(bed.portal.sessionCount).toBe(2);
  });

  it.each([
    ['a buffer', 0, 1],
    ['the memory of its receive', 4096, 0],
  ])(
    'waits for a write of the session that it replaces, from %s',
    async (_, immediateBytes, buffers) => {
      const store = new HoldingStore({ sizeBytes: 1 << 20 });
      bed = await TargetBed.start({ luns: [store] });
      const old = await bed.initiator(1);
      store.isHolding = true;
      old.sendCommand({ cdb: write16(0, 8), write: pattern(4096, 1), immediateBytes });
      await until(() => store.held.length === 1);
      const fresh = await bed.connect();
      const login = fresh.login(TARGET_NAME);
      await old.disconnected;
      fresh.nextTag += 1;
      await settle();
      expect(fresh.receivedCount).toBe(0);
      expect(bed.portal.buffersUsed).toBe(buffers);
      store.release();
      expect((await login).pdu.statusClass).toBe(0);
      await fresh.clearAttention();
      await fresh.execute({ cdb: write16(0, 8), write: pattern(4096, 2) });
      const { data } = await fresh.execute({ cdb: read16(0, 8), read: 4096 });
      expect(data.equals(pattern(4096, 2))).toBe(true);
    },
  );

  it('does not wait for ever', async () => {
    const store = new HoldingStore({ sizeBytes: 1 << 20 });
    bed = await TargetBed.start({ luns: [store] });
    const old = await bed.initiator(1);
    store.isHolding = true;
    old.sendCommand({ cdb: write16(0, 8), write: pattern(4096), immediateBytes: 4096 });
    await until(() => store.held.length === 1);
    const fresh = await bed.connect();
    const login = fresh.login(TARGET_NAME);
    await old.disconnected;
    bed.clock.advance(REINSTATE_TIMEOUT_MS);
    const { pdu } = await login;
    expect((pdu.statusClass << 8) | pdu.statusDetail).toBe(LoginStatus.serviceUnavailable);
    store.release();
  });

  it('waits for every session of it that still writes, not for the newest alone', async () => {
    const { store, old } = await startWithHeldWrite();
    const second = await bed!.connect();
    const secondLogin = second.login(TARGET_NAME).catch(() => null);
    await old.disconnected;
    const third = await bed!.connect();
    const login = third.login(TARGET_NAME);
    await second.disconnected;
    await secondLogin;
    await expectLateLogin(store, third, login);
  });

  it('waits for the writes that the login before it did not wait out', async () => {
    const { store, old } = await startWithHeldWrite();
    const second = await bed!.connect();
    const secondLogin = second.login(TARGET_NAME);
    await old.disconnected;
    bed!.clock.advance(REINSTATE_TIMEOUT_MS);
    expect((await secondLogin).pdu.statusClass).toBe(LoginStatus.serviceUnavailable >> 8);
    await second.disconnected;
    await until(() => bed!.portal.connectionCount === 1);
    const third = await bed!.connect();
    await expectLateLogin(store, third, third.login(TARGET_NAME));
  });
});

/** A session whose write of pattern 1 to LBA 0 is in the store's hands. */
async function startWithHeldWrite() {
  const store = new HoldingStore({ sizeBytes: 1 << 20 });
  bed = await TargetBed.start({ luns: [store] });
  const old = await bed.initiator(1);
  store.isHolding = true;
  old.sendCommand({ cdb: write16(0, 8), write: pattern(4096, 1), immediateBytes: 4096 });
  await until(() => store.held.length === 1);
  return { store, old };
}

/** The login must not be answered before the held write has ended, so that a write after it stays. */
async function expectLateLogin(
  store: HoldingStore,
  initiator: TestInitiator,
  login: ReturnType<TestInitiator['login']>,
): Promise<void> {
  let isAnswered = false;
  void login.then(() => {
    isAnswered = true;
  });
  await settle();
  expect(isAnswered).toBe(false);
  store.release();
  expect((await login).pdu.statusClass).toBe(0);
  await initiator.clearAttention();
  await initiator.execute({ cdb: write16(0, 8), write: pattern(4096, 2) });
  const { data } = await initiator.execute({ cdb: read16(0, 8), read: 4096 });
  expect(data.equals(pattern(4096, 2))).toBe(true);
  expect(bed!.portal.sessionCount).toBe(1);
}

describe('a connection that cannot be set up', () => {
  afterEach(() => vi.restoreAllMocks());

  it.each(['accept', 'createQueuePair'] as const)(
    'because %s fails leaves nothing behind',
    async (call) => {
      bed = await TargetBed.start();
      const destroyed = vi.spyOn(SoftCompletionQueue.prototype, 'destroy');
      const released = vi.spyOn(LoginExchange.prototype, 'release');
      const creating = vi.spyOn(MemoryConnectionId.prototype, 'createQueuePair');
      if (call === 'accept') {
        vi.spyOn(MemoryConnectionId.prototype, 'accept').mockImplementationOnce(failing);
      } else {
        // The first is the initiator's.
        creating.mockImplementationOnce(function (this: MemoryConnectionId, options) {
          creating.mockRestore();
          const queuePair = this.createQueuePair(options);
          vi.spyOn(MemoryConnectionId.prototype, 'createQueuePair').mockImplementationOnce(failing);
          return queuePair;
        });
      }
      await expect(bed.connect()).rejects.toThrow();
      await until(() => bed!.portal.connectionCount === 0);
      expect(destroyed).toHaveBeenCalledTimes(1);
      expect(released).toHaveBeenCalledTimes(1);
      expect(bed.clock.armedCount).toBe(0);
      vi.restoreAllMocks();
      await isAlive(await bed.initiator());
    },
  );
});

const failing = (): never => {
  throw new VerbsError('planned', 'The device has no room.');
};

describe('a connection that breaks', () => {
  it('at any point leaves nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('read', 'write', 'immediate', 'nop', 'turn', 'hold'), {
          maxLength: 40,
        }),
        fc.boolean(),
        async (steps, isOrderly) => {
          const store = new HoldingStore({ sizeBytes: 8 << 20 });
          const broken = await TargetBed.start({ luns: [store] });
          const initiator = await broken.initiator(1);
          const other = await broken.initiator(2);
          for (const step of steps) {
            switch (step) {
              case 'read':
                initiator.sendCommand({ cdb: read16(0, 4096), read: 2 << 20 });
                break;
              case 'write':
                initiator.sendCommand({ cdb: write16(0, 2048), write: pattern(1 << 20) });
                break;
              case 'immediate':
                initiator.sendCommand({
                  cdb: write16(0, 8),
                  write: pattern(4096),
                  immediateBytes: 4096,
                });
                break;
              case 'nop':
                initiator.nopOut();
                break;
              case 'turn':
                await turn();
                break;
              default:
                store.isHolding = true;
            }
          }
          if (isOrderly) initiator.disconnect();
          else initiator.vanish();
          await turns(3);
          store.release();
          await isAlive(other);
          await until(() => broken.portal.connectionCount === 1);
          expect(broken.portal.buffersUsed).toBe(0);
          expect(broken.portal.sessionCount).toBe(1);
          await broken.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('during the login leaves nothing behind', async () => {
    bed = await TargetBed.start();
    for (const steps of [0, 1, 2]) {
      const initiator = await bed.connect();
      if (steps > 0) {
        initiator.sendLogin(
          { currentStage: 1 },
          { InitiatorName: 'iqn.a', SessionType: 'Discovery' },
        );
      }
      if (steps > 1) await initiator.receiveLogin();
      initiator.vanish();
    }
    await until(() => bed!.portal.connectionCount === 0);
  });
});

describe('garbage', () => {
  const control = (bytes: Uint8Array) => {
    const message = Uint8Array.from(bytes);
    if (message.length >= 28) {
      encodeControlHeader(new DataView(message.buffer), 0, new IserControlHeader());
    }
    return message;
  };
  /** Resets and CLEAR TASK SET reach other sessions by their nature; whoever sends them is not talking garbage. */
  const withoutResets = (bytes: Uint8Array) => {
    if ((bytes[28] ?? 0) % 64 === 2) bytes[29] = (bytes[29] ?? 0) & 0x83;
    return bytes;
  };
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.uint8Array({ minLength: 76, maxLength: 76 }).map(control),
    fc.uint8Array({ minLength: 76, maxLength: 8268 }).map(control),
    // A known opcode and no data, so that more is looked at than the length.
    fc
      .tuple(fc.uint8Array({ minLength: 76, maxLength: 76 }), fc.constantFrom(0, 1, 2, 3, 4, 5, 6))
      .map(([bytes, opcode]) => {
        const shaped = control(bytes);
        shaped[28] = opcode | 0x40;
        shaped.fill(0, 32, 36);
        return shaped;
      }),
  );

  const message = anything.map(withoutResets);

  it('ends its connection, or is rejected, and disturbs nobody', async () => {
    bed = await TargetBed.start();
    const other = await bed.initiator(2);
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 10 }), async (messages) => {
        const initiator = await bed!.initiator(1);
        for (const bytes of messages) initiator.sendRaw(bytes);
        await turns(3);
        initiator.vanish();
        await isAlive(other);
        await until(() => bed!.portal.connectionCount === 1);
        expect(bed!.portal.buffersUsed).toBe(0);
      }),
      { numRuns: 80 },
    );
  });

  it('instead of a login ends the connection or is refused', async () => {
    bed = await TargetBed.start();
    await fc.assert(
      fc.asyncProperty(message, async (bytes) => {
        const initiator = await bed!.connect();
        initiator.sendRaw(bytes);
        await turns(3);
        initiator.vanish();
        await until(() => bed!.portal.connectionCount === 0);
      }),
      { numRuns: 60 },
    );
  });
});

describe('a silent initiator', () => {
  const silence = async (ticks: number) => {
    for (let count = 0; count < ticks; count++) {
      bed!.clock.advance(WATCHDOG_TICK_MS);
      await turn();
    }
  };

  it('is asked for a sign of life, and given up without one', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    await silence(WATCHDOG_PING_TICKS);
    expect(initiator.receivedCount).toBe(0);
    await silence(1);
    const { opcode, view } = await initiator.receive();
    expect(opcode).toBe(0x20);
    expect([view.getUint32(28 + 16), view.getUint32(28 + 20)]).toEqual([0xffff_ffff, 1]);
    await silence(WATCHDOG_GIVE_UP_TICKS - WATCHDOG_PING_TICKS);
    await initiator.disconnected;
  });

  it('stays when it answers', async () => {
    bed = await TargetBed.start();
    const initiator = await bed.initiator();
    for (let round = 0; round < 4; round++) {
      await silence(WATCHDOG_PING_TICKS + 1);
      initiator.nopOut(undefined, { initiatorTaskTag: 0xffff_ffff, targetTransferTag: 1 });
      await turn();
    }
    await initiator.receive();
    for (let pings = 1; pings < 4; pings++) await initiator.receive();
    await isAlive(initiator);
  });
});

describe('closing a target', () => {
  it('lets running commands end, and takes no new ones', async () => {
    const store = new HoldingStore({ sizeBytes: 1 << 20 });
    const closing = await TargetBed.start({ luns: [store] });
    const initiator = await closing.initiator();
    store.isHolding = true;
    initiator.sendCommand({ cdb: write16(0, 8), write: pattern(4096) });
    await until(() => store.held.length === 1);
    const closed = closing.portal.close();
    await expect(closing.connect()).rejects.toThrow('unreachable');
    store.release();
    expect((await initiator.receiveResponse()).response.status).toBe(0);
    expect(await initiator.disconnected).toBeNull();
    await closed;
    await closing.portal.close();
  });

  it('does not wait for commands that do not end', async () => {
    const store = new HoldingStore({ sizeBytes: 1 << 20 });
    const closing = await TargetBed.start({ luns: [store] });
    const initiator = await closing.initiator();
    store.isHolding = true;
    initiator.sendCommand({ cdb: write16(0, 8), write: pattern(4096) });
    await until(() => store.held.length === 1);
    const closed = closing.portal.close();
    await turn();
    closing.clock.advance(2000);
    await initiator.disconnected;
    store.release();
    await closed;
  });

  it('frees its address', async () => {
    bed = await TargetBed.start();
    await expect(bed.portal.listen({ host: 'lab', port: 3260 })).rejects.toThrow();
    await bed.close();
    await expect(bed.connect()).rejects.toThrow('unreachable');
  });
});
