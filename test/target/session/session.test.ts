import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LogoutStatus, PduOpcode, RejectReason } from '../../../src/iscsi/codes.js';
import {
  LogoutResponsePdu,
  NopInPdu,
  RejectPdu,
  decodeLogoutResponse,
  decodeNopIn,
  decodeReject,
} from '../../../src/iscsi/response-wire.js';
import { RESERVED_TAG, startBhs } from '../../../src/iscsi/wire.js';
import { Asc, SenseKey } from '../../../src/scsi/sense.js';
import { ScsiStatus } from '../../../src/scsi/wire.js';
import { COMMAND_WINDOW } from '../../../src/target/session/limits.js';
import { pattern, read16, testUnitReady, write16 } from '../../support/target/cdbs.js';
import { twinWrite } from '../../support/iscsi/twin.js';
import { TARGET_NAME, TargetBed } from '../../support/target/bed.js';
import type { TestInitiator } from '../../support/target/initiator.js';
import { turn } from '../../support/waiting.js';

let bed: TargetBed;
let initiator: TestInitiator;
beforeEach(async () => {
  bed = await TargetBed.start();
  initiator = await bed.initiator();
});
afterEach(() => bed.close());

async function receiveReject(): Promise<RejectPdu> {
  const received = await initiator.receive();
  expect(received.opcode).toBe(PduOpcode.reject);
  expect(received.data).toHaveLength(48);
  const pdu = new RejectPdu();
  decodeReject(received.view, 28, pdu);
  return pdu;
}

/** The session still works. */
async function isAlive(other = initiator): Promise<void> {
  const { response } = await other.execute({ cdb: testUnitReady() });
  expect(response.status).toBe(ScsiStatus.good);
}

describe('a session', () => {
  it('tells a new initiator of the power-on', async () => {
    const other = await bed.connect();
    await other.login(TARGET_NAME, {}, 2);
    const { response, sense } = await other.execute({ cdb: testUnitReady() });
    expect(response.status).toBe(ScsiStatus.checkCondition);
    expect(sense).toMatchObject({ key: SenseKey.unitAttention, asc: Asc.powerOnOrReset });
    await isAlive(other);
  });

  it('never sends more than 128 bytes of data, which is all that Linux has room for', async () => {
    const linux = await bed.connect({ smallReceives: true });
    await linux.login(TARGET_NAME, { InitiatorRecvDataSegmentLength: '262144' }, 3);
    await linux.execute({ cdb: testUnitReady() });
    const { sense } = await linux.execute({ cdb: read16(1 << 30, 1), read: 512 });
    expect(sense.asc).toBe(Asc.lbaOutOfRange);
    const { pieces } = await linux.text({ SendTargets: '' });
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(128);
    linux.nopOut(new Uint8Array(1000));
    expect((await linux.receive()).data).toHaveLength(128);
    await isAlive(linux);
  });

  it('numbers its responses without a gap, and the window follows the commands', async () => {
    const numbers = [];
    for (let count = 0; count < 5; count++) {
      const { response } = await initiator.execute({ cdb: testUnitReady() });
      numbers.push([response.statSn, response.expCmdSn, response.maxCmdSn]);
    }
    const [statSn, expCmdSn, maxCmdSn] = numbers[0]!;
    expect(maxCmdSn! - expCmdSn! + 1).toBe(COMMAND_WINDOW);
    for (const [index, triple] of numbers.entries()) {
      expect(triple).toEqual([statSn! + index, expCmdSn! + index, maxCmdSn! + index]);
    }
  });

  it('shows with the window how many commands it has', async () => {
    bed.faults.holdNext(10);
    for (let count = 0; count < 10; count++) initiator.sendCommand({ cdb: testUnitReady() });
    const { response } = await initiator.execute({ cdb: testUnitReady() });
    expect(response.maxCmdSn - response.expCmdSn + 1).toBe(COMMAND_WINDOW - 10);
    bed.faults.release();
    for (let count = 0; count < 10; count++) await initiator.receiveResponse();
    const after = await initiator.execute({ cdb: testUnitReady() });
    expect(after.response.maxCmdSn - after.response.expCmdSn + 1).toBe(COMMAND_WINDOW);
  });

  it('ignores commands beyond its window, and before it', async () => {
    bed.faults.holdNext(COMMAND_WINDOW);
    for (let count = 0; count < COMMAND_WINDOW; count++) {
      initiator.sendCommand({ cdb: testUnitReady() });
    }
    // Fewer at a time than there are receives beyond the window: more would end the connection.
    for (let burst = 0; burst < 30; burst++) {
      for (let count = 0; count < 10; count++) {
        initiator.sendCommand({ cdb: testUnitReady(), cmdSn: initiator.cmdSn + count });
      }
      initiator.sendCommand({ cdb: testUnitReady(), cmdSn: burst });
      initiator.nopOut();
      expect((await initiator.receive()).opcode).toBe(PduOpcode.nopIn);
    }
    bed.faults.release();
    for (let count = 0; count < COMMAND_WINDOW; count++) await initiator.receiveResponse();
    expect(initiator.receivedCount).toBe(0);
    await isAlive();
  });

  it('ends when a command number is missing', async () => {
    initiator.sendCommand({ cdb: testUnitReady(), cmdSn: initiator.cmdSn + 1 });
    await initiator.disconnected;
  });

  it('takes immediate commands outside of the numbering', async () => {
    const { response } = await initiator.execute({ cdb: testUnitReady(), isImmediate: true });
    expect(response.status).toBe(ScsiStatus.good);
    await isAlive();
  });

  it('answers pings with their data', async () => {
    const tag = initiator.nopOut(Buffer.from('are you there?'));
    const received = await initiator.receive();
    const pdu = new NopInPdu();
    decodeNopIn(received.view, 28, pdu);
    expect(pdu).toMatchObject({ initiatorTaskTag: tag, targetTransferTag: RESERVED_TAG });
    expect(Buffer.from(received.data).toString()).toBe('are you there?');
  });

  it('takes pings that are not immediate, and pings that want no answer', async () => {
    initiator.nopOut(undefined, { immediate: false });
    expect((await initiator.receive()).opcode).toBe(PduOpcode.nopIn);
    for (let count = 0; count < 500; count++) {
      initiator.nopOut(undefined, { initiatorTaskTag: RESERVED_TAG });
      if (count % 50 === 0) await isAlive();
    }
    await isAlive();
    expect(initiator.receivedCount).toBe(0);
  });

  it('knows no LUN but its own', async () => {
    const { sense } = await initiator.execute({ cdb: read16(0, 1), read: 512, lun: 1 });
    expect(sense.asc).toBe(Asc.logicalUnitNotSupported);
    const { data } = await initiator.execute({ cdb: [0x12, 0, 0, 0, 96, 0], read: 96, lun: 300 });
    expect(data[0]).toBe(0x7f);
  });
});

describe('a session rejects', () => {
  it('opcodes that do not exist', async () => {
    for (const opcode of [0x07, 0x1c, 0x3d]) {
      initiator.sendPdu((view, offset) => startBhs(view, offset, opcode, 0x80, 0));
      expect((await receiveReject()).reason).toBe(RejectReason.commandNotSupported);
    }
    await isAlive();
  });

  it('PDUs of the target, and requests for what was lost', async () => {
    initiator.sendPdu((view, offset) => startBhs(view, offset, PduOpcode.nopIn, 0x80, 0));
    expect((await receiveReject()).reason).toBe(RejectReason.commandNotSupported);
    const fields = { initiatorTaskTag: RESERVED_TAG, targetTransferTag: RESERVED_TAG };
    initiator.sendPdu((view, offset) => twinWrite(view, offset, 'SnackRequest', fields));
    expect((await receiveReject()).reason).toBe(RejectReason.snackReject);
    await isAlive();
  });

  it('data that nobody asked for', async () => {
    const data = pattern(512);
    const fields = { final: true, targetTransferTag: RESERVED_TAG, dataSegmentLength: 512 };
    initiator.sendPdu((view, offset) => twinWrite(view, offset, 'DataOut', fields), data);
    expect((await receiveReject()).reason).toBe(RejectReason.protocolError);
    await isAlive();
  });

  it('a write that announces such data, with sense', async () => {
    const data = pattern(1024);
    const { sense } = await initiator.execute({
      cdb: write16(0, 2),
      write: data,
      immediateBytes: 512,
      isFinal: false,
    });
    expect(sense).toMatchObject({ key: SenseKey.abortedCommand, asc: 0x0c0c });
    const { data: after } = await initiator.execute({ cdb: read16(0, 2), read: 1024 });
    expect(after.every((byte) => byte === 0)).toBe(true);
  });

  it('a task tag that is in use, and the reserved one', async () => {
    bed.faults.holdNext(1);
    initiator.sendCommand({ cdb: testUnitReady(), tag: 5 });
    initiator.sendCommand({ cdb: testUnitReady(), tag: 5 });
    expect((await receiveReject()).reason).toBe(RejectReason.taskInProgress);
    initiator.sendCommand({ cdb: testUnitReady(), tag: RESERVED_TAG });
    expect((await receiveReject()).reason).toBe(RejectReason.invalidPduField);
    bed.faults.release();
    const { response } = await initiator.receiveResponse();
    expect(response.initiatorTaskTag).toBe(5);
    const again = await initiator.execute({ cdb: testUnitReady(), tag: 5 });
    expect(again.response.maxCmdSn - again.response.expCmdSn + 1).toBe(COMMAND_WINDOW);
  });

  it('text that cannot be', async () => {
    initiator.sendText({ targetTransferTag: 99 }, new Uint8Array());
    expect((await receiveReject()).reason).toBe(RejectReason.protocolError);
    initiator.sendText({}, Uint8Array.of(0x41, 0x42));
    expect((await receiveReject()).reason).toBe(RejectReason.protocolError);
    await isAlive();
  });

  it('commands that go both ways, with sense', async () => {
    const { sense } = await initiator.execute({
      cdb: write16(0, 1),
      write: pattern(512),
      read: 512,
    });
    expect(sense).toMatchObject({ key: SenseKey.illegalRequest, asc: 0x0e03 });
  });
});

it('a session ends at once for more immediate data than agreed', async () => {
  const other = await bed.connect();
  const { pdu } = await other.login(TARGET_NAME, { ImmediateData: 'No' }, 2);
  expect(pdu.statusClass).toBe(0);
  await other.clearAttention();
  other.sendCommand({ cdb: write16(0, 1), write: pattern(512), immediateBytes: 512 });
  await other.disconnected;
  expect((await initiator.execute({ cdb: read16(0, 1), read: 512 })).data).toEqual(
    Buffer.alloc(512),
  );
});

describe('a session ends at once for', () => {
  const violations: [string, () => void][] = [
    [
      'a read without a key',
      () => initiator.sendCommand({ cdb: read16(0, 1), read: 512, withoutKeys: true }),
    ],
    [
      'a write without a key',
      () => initiator.sendCommand({ cdb: write16(0, 1), write: pattern(512), withoutKeys: true }),
    ],
    [
      'more immediate data than data',
      () =>
        initiator.sendCommand({
          cdb: write16(0, 2),
          write: pattern(1024),
          immediateBytes: 1024,
          expected: 512,
        }),
    ],
    [
      'another login',
      () => initiator.sendLogin({ currentStage: 1, transit: true, nextStage: 3 }, {}),
    ],
    ['a message shorter than its headers', () => initiator.sendRaw(new Uint8Array(75).fill(0x10))],
    ['an iSER Hello', () => initiator.sendRaw(Uint8Array.of(0x20, ...new Uint8Array(27 + 48)))],
    [
      'additional headers',
      () =>
        initiator.sendPdu((view, offset) => {
          startBhs(view, offset, PduOpcode.nopOut, 0x80, 0);
          view.setUint8(offset + 4, 1);
        }),
    ],
    [
      'a data segment that is not there',
      () =>
        initiator.sendPdu(
          (view, offset) => startBhs(view, offset, PduOpcode.nopOut, 0x80, 1),
          undefined,
        ),
    ],
  ];
  it.each(violations)('%s, and no other session notices', async (_, violate) => {
    const other = await bed.initiator(9);
    violate();
    await initiator.disconnected;
    await isAlive(other);
    expect(bed.portal.buffersUsed).toBe(0);
  });

  it('a read into memory that it does not have', async () => {
    const other = await bed.initiator(9);
    const { keys } = await initiator.execute({ cdb: read16(0, 1), read: 512 });
    const { ScsiCommandPdu, encodeScsiCommand } =
      await import('../../../src/iscsi/request-wire.js');
    const { IserControlHeader } = await import('../../../src/iscsi/iser-header.js');
    const pdu = new ScsiCommandPdu();
    Object.assign(pdu, { read: true, expectedDataTransferLength: 512, cmdSn: initiator.cmdSn });
    pdu.cdb.set(read16(0, 1));
    const header = new IserControlHeader();
    header.isReadStagValid = true;
    header.readStag = keys[0]!;
    initiator.sendPdu((view, offset) => encodeScsiCommand(view, offset, pdu), undefined, header);
    await initiator.disconnected;
    await isAlive(other);
  });
});

describe('a logout', () => {
  async function receiveLogout(): Promise<LogoutResponsePdu> {
    const received = await initiator.receive();
    expect(received.opcode).toBe(PduOpcode.logoutResponse);
    const pdu = new LogoutResponsePdu();
    decodeLogoutResponse(received.view, 28, pdu);
    return pdu;
  }

  it('is answered, then the connection ends in order', async () => {
    initiator.sendLogout();
    expect((await receiveLogout()).response).toBe(LogoutStatus.closed);
    expect(await bed.passTime(initiator.disconnected)).toBeNull();
  });

  it('leaves it to the initiator to close', async () => {
    initiator.sendLogout();
    await receiveLogout();
    const ended = vi.fn();
    void initiator.disconnected.then(ended);
    bed.clock.advance(1999);
    await turn();
    expect(ended).not.toHaveBeenCalled();
    initiator.disconnect();
    await vi.waitFor(() => expect(bed.portal.connectionCount).toBe(0));
  });

  it('of the connection needs its number', async () => {
    initiator.sendLogout({ reason: 1, cid: 7 });
    expect((await receiveLogout()).response).toBe(LogoutStatus.connectionNotFound);
    initiator.sendLogout({ reason: 2 });
    expect((await receiveLogout()).response).toBe(LogoutStatus.recoveryNotSupported);
    await isAlive();
    initiator.sendLogout({ reason: 1, cid: 0 });
    expect((await receiveLogout()).response).toBe(LogoutStatus.closed);
    await bed.passTime(initiator.disconnected);
  });

  it('ends what still runs', async () => {
    bed.faults.holdNext(1);
    initiator.sendCommand({ cdb: write16(0, 8), write: pattern(4096) });
    initiator.sendLogout({ immediate: false, cmdSn: initiator.takeCmdSn() });
    expect((await receiveLogout()).response).toBe(LogoutStatus.closed);
    await bed.passTime(initiator.disconnected);
    bed.faults.release();
  });
});

describe('a planned fault', () => {
  it('is a sense, a status, a delay or a lost connection', async () => {
    bed.faults.failNext(2, SenseKey.mediumError, Asc.unrecoveredReadError, { opcode: 0x88 });
    await isAlive();
    for (let count = 0; count < 2; count++) {
      const { sense } = await initiator.execute({ cdb: read16(0, 1), read: 512 });
      expect(sense.asc).toBe(Asc.unrecoveredReadError);
    }
    bed.faults.busyNext(1);
    bed.faults.taskSetFullNext(1);
    const statuses = [];
    for (let count = 0; count < 3; count++) {
      const { response } = await initiator.execute({ cdb: read16(0, 1), read: 512 });
      statuses.push(response.status);
    }
    expect(statuses).toEqual([ScsiStatus.busy, ScsiStatus.taskSetFull, ScsiStatus.good]);
    bed.faults.dropNext();
    initiator.sendCommand({ cdb: testUnitReady() });
    await initiator.disconnected;
  });
});
