/** PREEMPT AND ABORT, as cluster managers and gateways use it: nothing of who was fenced lands behind it. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PersistentReserveOut, ReservationType, ScsiStatus } from '../../../src/scsi/wire.js';
import { Asc, SenseKey } from '../../../src/scsi/sense.js';
import { TaskManagementFunction, TaskManagementStatus } from '../../../src/iscsi/codes.js';
import { LinkEnd } from '../../../src/transport/memory/link.js';
import { MemoryStore } from '../../../src/store/memory-store.js';
import { TARGET_NAME, TargetBed } from '../../support/target/bed.js';
import { pattern, read16, testUnitReady, write16 } from '../../support/target/cdbs.js';
import { HoldingStore } from '../../support/target/holding-store.js';
import type { CommandResult, TestInitiator } from '../../support/target/initiator.js';
import { keyOf, reserveOutCommand } from '../../support/target/reservations.js';
import type { ReserveOutFields } from '../../support/target/reservations.js';
import { settle, until } from '../../support/waiting.js';

const { register, reserve, preempt, preemptAndAbort } = PersistentReserveOut;
const { writeExclusiveRegistrantsOnly: TYPE } = ReservationType;
const KEYS = { victim: keyOf('a'), survivor: keyOf('b') };
const KIB = 1024;

let store: HoldingStore;
let bed: TargetBed;
let victim: TestInitiator;
let survivor: TestInitiator;
/** Ends of connections over which nothing leaves any more, as if the machine behind them hung. */
const hung = new Set<LinkEnd>();
const links: LinkEnd[] = [];

beforeEach(async () => {
  const join = LinkEnd.join.bind(LinkEnd);
  vi.spyOn(LinkEnd, 'join').mockImplementation((one, other) => {
    links.push(one, other);
    join(one, other);
  });
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const { onSendWork } = LinkEnd.prototype;
  vi.spyOn(LinkEnd.prototype, 'onSendWork').mockImplementation(function (this: LinkEnd) {
    if (!hung.has(this)) onSendWork.call(this);
  });
  store = new HoldingStore({ sizeBytes: 1 << 20 });
  const bufferClasses = [
    { slotBytes: 64 * KIB, slotsMax: 2, slotsPerSlab: 1 },
    { slotBytes: 4096 * KIB, slotsMax: 2, slotsPerSlab: 1 },
  ];
  const luns = [store, new MemoryStore({ sizeBytes: 1 << 20 })];
  bed = await TargetBed.start({ luns, bufferClasses });
  victim = await bed.initiator(1);
  survivor = await bed.initiator(2);
  for (const [initiator, key] of [
    [victim, KEYS.victim],
    [survivor, KEYS.survivor],
  ] as const) {
    await good(out(initiator, register, { serviceActionKey: key }));
  }
  await good(out(victim, reserve, { key: KEYS.victim, type: TYPE }));
});

afterEach(async () => {
  hung.clear();
  links.length = 0;
  vi.restoreAllMocks();
  store.release();
  await bed.close();
  expect(bed.portal.buffersUsed).toBe(0);
});

function out(
  initiator: TestInitiator,
  action: number,
  fields: ReserveOutFields,
): Promise<CommandResult> {
  const { cdb, list } = reserveOutCommand(action, fields);
  return initiator.execute({ cdb, write: list, immediateBytes: list.length });
}

async function good(result: Promise<CommandResult>): Promise<void> {
  expect((await result).response.status).toBe(ScsiStatus.good);
}

/** Fences the victim; resolves when the answer is there. */
const fence = (): { readonly done: Promise<CommandResult>; isAnswered: boolean } => {
  const fields = { key: KEYS.survivor, serviceActionKey: KEYS.victim, type: TYPE };
  const fencing = { done: out(survivor, preemptAndAbort, fields), isAnswered: false };
  void fencing.done.then(() => (fencing.isAnswered = true));
  return fencing;
};

const contents = async (): Promise<Buffer> =>
  (await survivor.execute({ cdb: read16(0, 8), read: 4096 })).data;

describe('PREEMPT AND ABORT', () => {
  it.each([
    ['that came with its data', 4096],
    ['whose data was fetched', 0],
  ])(
    'waits for a write %s and is in the storage, then nothing of it follows',
    async (_what, immediateBytes) => {
      store.isHolding = true;
      victim.sendCommand({ cdb: write16(0, 8), write: pattern(4096, 1), immediateBytes });
      await until(() => store.held.length === 1);
      const fencing = fence();
      await settle();
      expect(fencing.isAnswered).toBe(false);
      store.release();
      expect((await fencing.done).response.status).toBe(ScsiStatus.good);
      await good(survivor.execute({ cdb: write16(0, 8), write: pattern(4096, 2) }));
      await settle();
      expect((await contents()).equals(pattern(4096, 2))).toBe(true);
      // The write is answered as aborted, and what comes now is told first, then refused.
      expect((await victim.receiveResponse()).response.status).toBe(ScsiStatus.taskAborted);
      const told = await victim.execute({ cdb: testUnitReady() });
      expect([told.sense.key, told.sense.asc]).toEqual([
        SenseKey.unitAttention,
        Asc.registrationsPreempted,
      ]);
      const late = await victim.execute({ cdb: write16(0, 8), write: pattern(4096, 3) });
      expect(late.response.status).toBe(ScsiStatus.reservationConflict);
    },
  );

  it('does not wait for a machine that hangs and never sends what it wanted to write', async () => {
    // Its command gets through, the RDMA Read of its data is never answered.
    victim.sendCommand({ cdb: write16(0, 128), write: pattern(64 * KIB, 1) });
    hangTarget();
    await until(() => bed.portal.buffersUsed === 1);
    const { done } = fence();
    await good(done);
    await good(survivor.execute({ cdb: write16(0, 8), write: pattern(4096, 2) }));
    // The machine comes back to life, and its data arrives after all.
    for (const link of [...hung]) {
      hung.delete(link);
      link.onSendWork();
    }
    await until(() => bed.portal.buffersUsed === 0);
    await settle();
    expect((await contents()).equals(pattern(4096, 2))).toBe(true);
  });

  it('does not wait for what waits for memory, and that is not carried out later', async () => {
    store.isHolding = true;
    for (let count = 0; count < 2; count++) {
      survivor.sendCommand({ cdb: write16(512, 128), write: pattern(64 * KIB, 9) });
    }
    await until(() => store.held.length === 2);
    victim.sendCommand({ cdb: write16(0, 128), write: pattern(64 * KIB, 1) });
    victim.nopOut();
    expect((await victim.receive()).opcode).toBe(0x20);
    const { cdb, list } = reserveOutCommand(preemptAndAbort, {
      key: KEYS.survivor,
      serviceActionKey: KEYS.victim,
      type: TYPE,
    });
    survivor.sendCommand({ cdb, write: list, immediateBytes: list.length });
    expect((await survivor.receiveResponse()).response.status).toBe(ScsiStatus.good);
    store.release();
    for (let count = 0; count < 2; count++) await survivor.receiveResponse();
    await until(() => bed.portal.buffersUsed === 0);
    expect((await contents()).equals(Buffer.alloc(4096))).toBe(true);
  });

  it('does not carry out what waited for its turn', async () => {
    store.isHolding = true;
    const compare = [0x89, 0, ...Array<number>(8).fill(0), 0, 0, 0, 1, 0, 0];
    survivor.sendCommand({ cdb: compare, write: Buffer.alloc(1024), immediateBytes: 1024 });
    await until(() => store.held.length === 1);
    victim.sendCommand({ cdb: write16(0, 8), write: pattern(4096, 1), immediateBytes: 4096 });
    victim.nopOut();
    expect((await victim.receive()).opcode).toBe(0x20);
    const { cdb, list } = reserveOutCommand(preemptAndAbort, {
      key: KEYS.survivor,
      serviceActionKey: KEYS.victim,
      type: TYPE,
    });
    survivor.sendCommand({ cdb, write: list, immediateBytes: list.length });
    await settle();
    store.release();
    for (let count = 0; count < 2; count++) {
      expect((await survivor.receiveResponse()).response.status).toBe(ScsiStatus.good);
    }
    expect((await contents()).equals(Buffer.alloc(4096))).toBe(true);
  });

  it('leaves the other LUNs, and who shares no key with the victim, alone', async () => {
    store.isHolding = true;
    const third = await bed.initiator(3);
    const sent = third.sendCommand({ cdb: read16(0, 8), read: 4096 });
    await victim.clearAttention(1);
    victim.sendCommand({ cdb: write16(0, 8), write: pattern(4096), lun: 1 });
    expect((await victim.receiveResponse()).response.status).toBe(ScsiStatus.good);
    await good(fence().done);
    store.release();
    const { response } = await third.receiveResponse();
    expect([response.initiatorTaskTag, response.status]).toEqual([sent.tag, ScsiStatus.good]);
  });

  it('reaches commands of a session that is gone and still writes', async () => {
    store.isHolding = true;
    victim.sendCommand({ cdb: write16(0, 8), write: pattern(4096, 1), immediateBytes: 4096 });
    await until(() => store.held.length === 1);
    victim.vanish();
    await until(() => bed.portal.sessionCount === 2);
    const fencing = fence();
    await settle();
    expect(fencing.isAnswered).toBe(false);
    store.release();
    expect((await fencing.done).response.status).toBe(ScsiStatus.good);
  });
});

describe('PREEMPT alone', () => {
  it('keeps new commands out, and lets those finish that are there', async () => {
    store.isHolding = true;
    const { tag } = victim.sendCommand({ cdb: write16(0, 8), write: pattern(4096, 1) });
    await until(() => store.held.length === 1);
    const fields = { key: KEYS.survivor, serviceActionKey: KEYS.victim, type: TYPE };
    await good(out(survivor, preempt, fields));
    store.release();
    const { response } = await victim.receiveResponse();
    expect([response.initiatorTaskTag, response.status]).toEqual([tag, ScsiStatus.good]);
    await victim.execute({ cdb: testUnitReady() });
    const late = await victim.execute({ cdb: write16(0, 8), write: pattern(4096) });
    expect(late.response.status).toBe(ScsiStatus.reservationConflict);
  });
});

describe('a reservation', () => {
  it('outlives its session, and is there for the same initiator port when it returns', async () => {
    victim.disconnect();
    await until(() => bed.portal.sessionCount === 1);
    const stranger = await bed.initiator(9);
    const refused = await stranger.execute({ cdb: write16(0, 8), write: pattern(4096) });
    expect(refused.response.status).toBe(ScsiStatus.reservationConflict);
    const again = await bed.connect();
    await again.login(TARGET_NAME, { InitiatorName: 'IQN.2026-11.io.example:initiator' }, 1);
    await again.clearAttention();
    await good(again.execute({ cdb: write16(0, 8), write: pattern(4096) }));
  });

  it('of RESERVE(6) ends with a reset, whoever sends it', async () => {
    const luns = { lun: 1 };
    await victim.clearAttention(1);
    await good(victim.execute({ cdb: [0x16, 0, 0, 0, 0, 0], ...luns }));
    const refused = await survivor.execute({ cdb: read16(0, 8), read: 4096, ...luns });
    // The attention of its login comes first.
    expect(refused.sense.asc).toBe(Asc.powerOnOrReset);
    const conflict = await survivor.execute({ cdb: read16(0, 8), read: 4096, ...luns });
    expect(conflict.response.status).toBe(ScsiStatus.reservationConflict);
    const reset = await survivor.taskManagement(
      { function: TaskManagementFunction.logicalUnitReset },
      1,
    );
    expect(reset).toBe(TaskManagementStatus.complete);
    await survivor.clearAttention(1);
    await good(survivor.execute({ cdb: read16(0, 8), read: 4096, ...luns }));
  });
});

describe('a reset by somebody else', () => {
  it('does not wait for a machine that hangs', async () => {
    victim.sendCommand({ cdb: write16(0, 128), write: pattern(64 * KIB, 1) });
    hangTarget();
    await until(() => bed.portal.buffersUsed === 1);
    const reset = survivor.taskManagement({ function: TaskManagementFunction.logicalUnitReset });
    expect(await reset).toBe(TaskManagementStatus.complete);
    const cleared = survivor.taskManagement({ function: TaskManagementFunction.clearTaskSet });
    expect(await cleared).toBe(TaskManagementStatus.complete);
  });
});

/** The first connection's target end sends nothing any more: its RDMA Reads stay where they are. */
function hangTarget(): void {
  const [one] = links;
  hung.add(one!);
}
