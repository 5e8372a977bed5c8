import { describe, expect, it } from 'vitest';
import { PduOpcode, TaskManagementFunction, TaskManagementStatus } from '../../src/iscsi/codes.js';
import {
  ScsiCommandPdu,
  TaskManagementRequestPdu,
  decodeScsiCommand,
  decodeTaskManagementRequest,
} from '../../src/iscsi/request-wire.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import type { SentPdu } from '../support/iscsi/datamover.js';
import { SessionBench } from '../support/iscsi/session.js';
import { turn } from '../support/waiting.js';

const { abortTask, logicalUnitReset } = TaskManagementFunction;
/** Command timeouts here, with two ticks of slack. */
const COMMAND_MS = 30_500;
const noPings = { timeouts: { pingIntervalMs: 1e9 } };

function requestOf(pdu: SentPdu): TaskManagementRequestPdu {
  expect(pdu.opcode).toBe(PduOpcode.taskManagementRequest);
  const request = new TaskManagementRequestPdu();
  decodeTaskManagementRequest(pdu.view, 0, request);
  return request;
}

describe('a command that times out', () => {
  it('is aborted, and ends as timed out when the target has done so', () => {
    const bench = new SessionBench(noPings);
    const [command] = bench.execute(1, 2);
    const sent = bench.datamover.take();
    const pdu = new ScsiCommandPdu();
    decodeScsiCommand(sent.view, 0, pdu);
    bench.advance(COMMAND_MS);
    const abort = requestOf(bench.datamover.take());
    expect(abort).toMatchObject({
      immediate: true,
      function: abortTask,
      referencedTaskTag: sent.tag,
      refCmdSn: pdu.cmdSn,
      lunHigh: 0x00020000,
      cmdSn: 2,
    });
    expect(bench.done).toEqual([]);
    bench.taskManagement(abort.initiatorTaskTag);
    expect(bench.done).toEqual([command]);
    expect(command?.outcome).toBe(DeliveryOutcome.timedOut);
    expect(sent.task?.isActive).toBe(false);
  });

  it('has the timeout that it asks for', () => {
    const bench = new SessionBench(noPings);
    const command = bench.command();
    command.timeoutMs = 1000;
    bench.session.lun(0).execute(command);
    bench.datamover.take();
    bench.advance(999);
    expect(bench.datamover.sent).toHaveLength(0);
    bench.advance(600);
    expect(requestOf(bench.datamover.take()).function).toBe(abortTask);
  });

  it('ends with its response when that comes before the answer to the abort', () => {
    const bench = new SessionBench(noPings);
    const [command] = bench.execute();
    const sent = bench.datamover.take();
    bench.advance(COMMAND_MS);
    const abort = bench.datamover.take();
    bench.respond(sent.tag);
    expect(command?.outcome).toBe(DeliveryOutcome.delivered);
    bench.taskManagement(abort.tag, TaskManagementStatus.noSuchTask);
    bench.execute();
    bench.respond(bench.datamover.take().tag);
    expect(bench.done).toHaveLength(2);
    expect(bench.session.isUp).toBe(true);
  });

  it('is not given up when the target does not know it: its response may be on the way', () => {
    const bench = new SessionBench(noPings);
    const [command] = bench.execute();
    const sent = bench.datamover.take();
    bench.advance(COMMAND_MS);
    bench.taskManagement(bench.datamover.take().tag, TaskManagementStatus.noSuchTask);
    expect(bench.done).toEqual([]);
    bench.respond(sent.tag);
    expect(command?.outcome).toBe(DeliveryOutcome.delivered);
  });

  it('ends without a reset of the unit when the target does not know it and stays silent', () => {
    const bench = new SessionBench(noPings);
    const [command] = bench.execute();
    const sent = bench.datamover.take();
    bench.advance(COMMAND_MS);
    bench.taskManagement(bench.datamover.take().tag, TaskManagementStatus.noSuchTask);
    bench.advance(500);
    expect(bench.done).toEqual([]);
    bench.advance(1000);
    // Another initiator's reset has ended it. A reset of ours would end that one's commands, and so on.
    expect(bench.datamover.sent).toHaveLength(0);
    expect(command?.outcome).toBe(DeliveryOutcome.timedOut);
    expect(sent.task?.isActive).toBe(false);
    expect(bench.session.isUp).toBe(true);
  });

  it('is aborted long before its time when the unit tells that commands were cleared', () => {
    const bench = new SessionBench(noPings);
    const [lost, answered] = bench.execute(2, 0);
    const [elsewhere] = bench.execute(1, 1);
    const tags = bench.datamover.sent.splice(0).map(({ tag }) => tag);
    bench.session.lun(0).questionOutstanding();
    bench.advance(500);
    bench.respond(tags[1]!);
    expect(answered?.outcome).toBe(DeliveryOutcome.delivered);
    expect(bench.datamover.sent).toHaveLength(0);
    bench.advance(1000);
    const [abort] = bench.datamover.sent.splice(0);
    expect(requestOf(abort!)).toMatchObject({ function: abortTask, referencedTaskTag: tags[0] });
    bench.taskManagement(abort!.tag);
    expect(lost?.outcome).toBe(DeliveryOutcome.aborted);
    expect(bench.done).not.toContain(elsewhere);
    const [later] = bench.execute(1, 0);
    bench.datamover.take();
    bench.advance(5000);
    expect(bench.datamover.sent).toHaveLength(0);
    expect(bench.done).not.toContain(later);
  });

  it.each([
    ['refuses the abort', (bench: SessionBench, tag: number) => bench.taskManagement(tag, 5)],
    ['does not answer the abort', (bench: SessionBench) => bench.advance(15_500)],
  ])('gets its logical unit reset when the target %s', (_, act) => {
    const bench = new SessionBench(noPings);
    const [late] = bench.execute(1, 1);
    bench.advance(15_000);
    const [early] = bench.execute(1, 1);
    const [other] = bench.execute(1, 0);
    bench.datamover.sent.length = 0;
    bench.advance(15_500);
    act(bench, bench.datamover.take().tag);
    const reset = bench.datamover.sent
      .map(requestOf)
      .find((pdu) => pdu.function === logicalUnitReset);
    expect(reset).toMatchObject({
      lunHigh: 0x00010000,
      referencedTaskTag: 0xffff_ffff,
      immediate: true,
    });
    bench.taskManagement(reset!.initiatorTaskTag);
    expect(bench.done).toContain(late);
    expect(bench.done).toContain(early);
    expect(bench.done).not.toContain(other);
    expect(late?.outcome).toBe(DeliveryOutcome.timedOut);
  });

  it.each([
    ['refused', (bench: SessionBench, tag: number) => bench.taskManagement(tag, 255)],
    ['not answered', (bench: SessionBench) => bench.advance(31_000)],
  ])('ends the session when the reset is %s', async (_, act) => {
    const bench = new SessionBench(noPings);
    const [command] = bench.execute();
    bench.datamover.take();
    bench.advance(COMMAND_MS);
    bench.taskManagement(bench.datamover.take().tag, TaskManagementStatus.notSupported);
    act(bench, bench.datamover.take().tag);
    await turn();
    expect(bench.datamover.isTerminated).toBe(true);
    expect(bench.done).toEqual([command]);
    expect(command?.outcome).toBe(DeliveryOutcome.connectionLost);
  });

  it('waits its turn when many time out at once, and leaves a place for the ping', () => {
    const bench = new SessionBench(noPings);
    bench.execute(40);
    bench.datamover.sent.length = 0;
    bench.advance(COMMAND_MS);
    expect(bench.datamover.sent).toHaveLength(5);
    let aborts = 0;
    while (bench.datamover.sent.length > 0) {
      bench.taskManagement(bench.datamover.take().tag);
      aborts++;
    }
    expect(aborts).toBe(40);
    expect(bench.done).toHaveLength(40);
    expect(bench.session.isUp).toBe(true);
  });

  it.each([
    // One place is the ping's; a target that takes a single PDU has it for everything.
    [1, 1],
    [2, 1],
    [3, 2],
    [100, 5],
    // 0 sets no limit (RFC 7145 6.7).
    [0, 5],
  ])('keeps to what the target takes: of %i PDUs, %i aborts', (declared, expected) => {
    const keys = { MaxOutstandingUnexpectedPDUs: declared };
    const bench = new SessionBench({ ...noPings, declared: keys });
    bench.execute(40);
    bench.datamover.sent.length = 0;
    bench.advance(COMMAND_MS);
    expect(bench.datamover.sent).toHaveLength(expected);
    bench.taskManagement(bench.datamover.take().tag);
    expect(bench.datamover.sent).toHaveLength(expected);
  });

  it('does not send an abort whose command has ended while it waited', () => {
    const bench = new SessionBench(noPings);
    bench.execute(10);
    const tags = bench.datamover.sent.splice(0).map(({ tag }) => tag);
    bench.advance(COMMAND_MS);
    for (const tag of tags) bench.respond(tag);
    const aborts = bench.datamover.sent.splice(0);
    expect(aborts).toHaveLength(5);
    for (const { tag } of aborts) bench.taskManagement(tag, TaskManagementStatus.noSuchTask);
    expect(bench.datamover.sent).toHaveLength(0);
  });

  it('costs the target a receive: fewer commands are outstanding, and after many the session ends', async () => {
    const bench = new SessionBench({ ...noPings, window: 200, tasks: 22 });
    for (let round = 0; round < 12; round++) {
      bench.execute(1);
      bench.datamover.take();
      bench.advance(COMMAND_MS);
      bench.taskManagement(bench.datamover.take().tag);
      expect(bench.session.queueDepth).toBe(15 - round);
    }
    bench.execute(1);
    bench.advance(COMMAND_MS);
    bench.taskManagement(bench.datamover.sent[1]!.tag);
    await turn();
    expect(bench.session.isUp).toBe(false);
    expect(bench.done).toHaveLength(13);
  });
});

describe('a reset that is asked for', () => {
  it('ends the commands of its LUN as aborted, holds back new ones meanwhile, and resolves', async () => {
    const bench = new SessionBench(noPings);
    const [command] = bench.execute(1, 0);
    bench.execute(1, 1);
    const port = bench.session.lun(0);
    bench.datamover.sent.length = 0;
    const reset = port.resetLogicalUnit();
    const [held] = bench.execute(1, 0);
    const { tag } = bench.datamover.take();
    expect(bench.datamover.sent).toHaveLength(0);
    bench.taskManagement(tag);
    await reset;
    expect(bench.done).toEqual([command]);
    expect(command?.outcome).toBe(DeliveryOutcome.aborted);
    bench.respond(bench.datamover.take().tag);
    expect(held?.outcome).toBe(DeliveryOutcome.delivered);
  });

  it('rejects in words when the target refuses, and commands go on', async () => {
    const bench = new SessionBench(noPings);
    bench.execute();
    const { tag: commandTag } = bench.datamover.take();
    const reset = bench.session.lun(0).resetLogicalUnit();
    bench.taskManagement(bench.datamover.take().tag, TaskManagementStatus.notSupported);
    await expect(reset).rejects.toThrow(/function not supported/);
    bench.respond(commandTag);
    expect(bench.done).toHaveLength(1);
    expect(bench.session.isUp).toBe(true);
  });

  it('is one at a time for a LUN', async () => {
    const bench = new SessionBench(noPings);
    const first = bench.session.lun(0).resetLogicalUnit();
    await expect(bench.session.lun(0).resetLogicalUnit()).rejects.toMatchObject({
      code: 'iscsi-reset-busy',
    });
    bench.taskManagement(bench.datamover.take().tag);
    await first;
  });

  it('rejects, and the session ends, when the target does not answer', async () => {
    const bench = new SessionBench(noPings);
    const reset = bench.session.lun(0).resetLogicalUnit();
    const rejected = expect(reset).rejects.toMatchObject({ code: 'iscsi-connection-lost' });
    bench.advance(31_000);
    await rejected;
    expect(bench.session.isUp).toBe(false);
  });
});
