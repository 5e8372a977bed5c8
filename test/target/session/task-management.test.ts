import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TaskManagementFunction, TaskManagementStatus } from '../../../src/iscsi/codes.js';
import { Asc, SenseKey } from '../../../src/scsi/sense.js';
import { ScsiStatus } from '../../../src/scsi/wire.js';
import { COMMAND_WINDOW, TASK_MANAGEMENT_MAX } from '../../../src/target/session/limits.js';
import { MemoryStore } from '../../../src/store/memory-store.js';
import { pattern, read16, testUnitReady, write16 } from '../../support/target/cdbs.js';
import { HoldingStore } from '../../support/target/holding-store.js';
import { TargetBed } from '../../support/target/bed.js';
import type { TestInitiator } from '../../support/target/initiator.js';
import { until } from '../../support/waiting.js';

const {
  abortTask,
  abortTaskSet,
  clearTaskSet,
  logicalUnitReset,
  targetColdReset,
  targetWarmReset,
  taskReassign,
  queryTask,
} = TaskManagementFunction;
const { complete, noSuchLun, noSuchTask, notSupported, rejected } = TaskManagementStatus;

let store: HoldingStore;
let bed: TargetBed;
let one: TestInitiator;
let two: TestInitiator;
beforeEach(async () => {
  store = new HoldingStore({ sizeBytes: 1 << 20 });
  bed = await TargetBed.start({ luns: [store, new MemoryStore({ sizeBytes: 1 << 20 })] });
  one = await bed.initiator(1);
  two = await bed.initiator(2);
});
afterEach(async () => {
  store.release();
  await bed.close();
  expect(bed.portal.buffersUsed).toBe(0);
});

const attention = async (initiator: TestInitiator, lun = 0): Promise<number> => {
  const { response, sense } = await initiator.execute({ cdb: testUnitReady(), lun });
  return response.status === 0 ? 0 : sense.key === SenseKey.unitAttention ? sense.asc : -1;
};

/** The tag of a command that ended with TASK ABORTED. */
const aborted = async (initiator: TestInitiator): Promise<number> => {
  const { response } = await initiator.receiveResponse();
  expect(response.status).toBe(ScsiStatus.taskAborted);
  return response.initiatorTaskTag;
};

describe('ABORT TASK', () => {
  it('ends a task that waits, which gets no response', async () => {
    bed.faults.holdNext(1);
    const { tag } = one.sendCommand({ cdb: testUnitReady() });
    const status = await one.taskManagement({ function: abortTask, referencedTaskTag: tag });
    expect(status).toBe(complete);
    bed.faults.release();
    expect(await attention(one)).toBe(0);
    expect(one.receivedCount).toBe(0);
  });

  it('is answered only when the task cannot touch the medium any more', async () => {
    store.isHolding = true;
    const { tag } = one.sendCommand({ cdb: write16(0, 8), write: pattern(4096) });
    await until(() => store.held.length === 1);
    one.sendTaskManagement({ function: abortTask, referencedTaskTag: tag });
    one.nopOut();
    expect((await one.receive()).opcode).toBe(0x20);
    expect(one.receivedCount).toBe(0);
    expect(store.held).toHaveLength(1);
    store.release();
    expect(await one.receiveTaskManagement()).toBe(complete);
    expect(bed.portal.buffersUsed).toBe(0);
    const { data } = await one.execute({ cdb: read16(0, 8), read: 4096 });
    expect(data.equals(pattern(4096))).toBe(true);
  });

  it('says that there is no such task, ended or never begun, or of another session', async () => {
    const { response } = await one.execute({ cdb: testUnitReady() });
    const referencedTaskTag = response.initiatorTaskTag;
    expect(await one.taskManagement({ function: abortTask, referencedTaskTag })).toBe(noSuchTask);
    bed.faults.holdNext(1);
    const { tag } = one.sendCommand({ cdb: testUnitReady() });
    expect(await two.taskManagement({ function: abortTask, referencedTaskTag: tag })).toBe(
      noSuchTask,
    );
    bed.faults.release();
    await one.receiveResponse();
  });

  it('ends a task whose data is on its way', async () => {
    const { tag } = one.sendCommand({ cdb: write16(0, 2048), write: pattern(1 << 20) });
    const status = await one.taskManagement({ function: abortTask, referencedTaskTag: tag });
    expect(status).toBe(complete);
    const { data } = await one.execute({ cdb: read16(0, 8), read: 4096 });
    expect(data.every((byte) => byte === 0)).toBe(true);
  });

  it('opens the window for another command', async () => {
    bed.faults.holdNext(1);
    const { tag } = one.sendCommand({ cdb: testUnitReady() });
    await one.taskManagement({ function: abortTask, referencedTaskTag: tag });
    const { response } = await one.execute({ cdb: testUnitReady() });
    expect(response.maxCmdSn - response.expCmdSn + 1).toBe(COMMAND_WINDOW);
  });
});

describe('ABORT TASK SET and CLEAR TASK SET', () => {
  it('end the tasks of a LUN, of this session or of all', async () => {
    bed.faults.holdNext(4);
    one.sendCommand({ cdb: testUnitReady() });
    const other = one.sendCommand({ cdb: testUnitReady(), lun: 1 });
    const sent = [1, 2].map(() => two.sendCommand({ cdb: testUnitReady() }).tag);
    two.nopOut();
    await two.receive();
    expect(await one.taskManagement({ function: abortTaskSet })).toBe(complete);
    expect(await one.taskManagement({ function: clearTaskSet })).toBe(complete);
    bed.faults.release();
    const { response } = await one.receiveResponse();
    expect(response.initiatorTaskTag).toBe(other.tag);
    expect(await attention(one)).toBe(0);
    const answered = [await aborted(two), await aborted(two)];
    expect(answered.sort()).toEqual(sent);
    expect(await attention(two)).toBe(0);
    expect(two.receivedCount).toBe(0);
  });
});

describe('a session whose connection is going down', () => {
  it.each([
    ['CLEAR TASK SET', clearTaskSet],
    ['LOGICAL UNIT RESET', logicalUnitReset],
    ['TARGET WARM RESET', targetWarmReset],
    ['TARGET COLD RESET', targetColdReset],
  ])('is waited for by %s', async (_, code) => {
    store.isHolding = true;
    one.sendCommand({ cdb: write16(0, 8), write: pattern(4096), immediateBytes: 4096 });
    await until(() => store.held.length === 1);
    one.vanish();
    await until(() => bed.portal.sessionCount === 2);
    for (let count = 0; count < 20; count++) two.nopOut();
    for (let count = 0; count < 20; count++) await two.receive();
    two.sendTaskManagement({ function: code });
    two.nopOut();
    expect((await two.receive()).opcode).toBe(0x20);
    expect(two.receivedCount).toBe(0);
    expect(store.held).toHaveLength(1);
    store.release();
    expect(await two.receiveTaskManagement()).toBe(complete);
    await until(() => bed.portal.sessionCount <= 1);
  });
});

describe('a task that another initiator has aborted', () => {
  beforeEach(async () => {
    store.isHolding = true;
    two.sendCommand({ cdb: write16(0, 8), write: pattern(4096), tag: 0x77 });
    await until(() => store.held.length === 1);
  });

  it('is answered when the storage is done with it', async () => {
    one.sendTaskManagement({ function: logicalUnitReset });
    two.nopOut();
    expect((await two.receive()).opcode).toBe(0x20);
    store.release();
    expect(await aborted(two)).toBe(0x77);
    expect(await one.receiveTaskManagement()).toBe(complete);
    expect(await attention(two)).toBe(Asc.deviceReset);
  });

  it('has no answer once its own has aborted it as well', async () => {
    one.sendTaskManagement({ function: logicalUnitReset });
    one.nopOut();
    await one.receive();
    two.sendTaskManagement({ function: abortTask, referencedTaskTag: 0x77 });
    two.nopOut();
    await two.receive();
    store.release();
    expect(await two.receiveTaskManagement()).toBe(complete);
    expect(await one.receiveTaskManagement()).toBe(complete);
    expect(await attention(two)).toBe(Asc.deviceReset);
    expect(two.receivedCount).toBe(0);
  });
});

describe('a reset', () => {
  it('of a LUN ends all its tasks and is told to every initiator', async () => {
    bed.faults.holdNext(2);
    one.sendCommand({ cdb: testUnitReady() });
    const { tag } = two.sendCommand({ cdb: testUnitReady() });
    two.nopOut();
    await two.receive();
    expect(await one.taskManagement({ function: logicalUnitReset })).toBe(complete);
    expect(await aborted(two)).toBe(tag);
    bed.faults.release();
    expect(await attention(one)).toBe(Asc.deviceReset);
    expect(await attention(two)).toBe(Asc.deviceReset);
    expect(await attention(one)).toBe(0);
    expect(await attention(two, 1)).toBe(Asc.powerOnOrReset);
  });

  it('of the target reaches all LUNs', async () => {
    await attention(one, 1);
    expect(await one.taskManagement({ function: targetWarmReset })).toBe(complete);
    expect(await attention(one, 0)).toBe(Asc.deviceReset);
    expect(await attention(one, 1)).toBe(Asc.deviceReset);
  });

  it('from cold ends all sessions, after it was answered', async () => {
    expect(await one.taskManagement({ function: targetColdReset })).toBe(complete);
    await Promise.all([one.disconnected, two.disconnected]);
  });
});

describe('task management', () => {
  it('has no function for what is not supported or not there', async () => {
    expect(await one.taskManagement({ function: taskReassign })).toBe(notSupported);
    expect(await one.taskManagement({ function: queryTask })).toBe(notSupported);
    expect(await one.taskManagement({ function: 99 })).toBe(rejected);
    for (const code of [abortTaskSet, clearTaskSet, logicalUnitReset]) {
      expect(await one.taskManagement({ function: code }, 7)).toBe(noSuchLun);
    }
  });

  it('takes a number when it is not immediate', async () => {
    const cmdSn = one.takeCmdSn();
    const fields = { function: logicalUnitReset, immediate: false, cmdSn };
    expect(await one.taskManagement(fields)).toBe(complete);
    expect(await attention(one)).toBe(Asc.deviceReset);
  });

  it('does not pile up', async () => {
    store.isHolding = true;
    const { tag } = one.sendCommand({ cdb: write16(0, 8), write: pattern(4096) });
    await until(() => store.held.length === 1);
    const request = { function: abortTask, referencedTaskTag: tag };
    for (let count = 0; count < TASK_MANAGEMENT_MAX; count++) one.sendTaskManagement(request);
    one.nopOut();
    await one.receive();
    expect(await one.taskManagement(request)).toBe(rejected);
    store.release();
    for (let count = 0; count < TASK_MANAGEMENT_MAX; count++) {
      expect(await one.receiveTaskManagement()).toBe(complete);
    }
    expect(await one.taskManagement(request)).toBe(noSuchTask);
  });
});
