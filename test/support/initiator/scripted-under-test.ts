import { DataDirection } from '../../../src/common/data-direction.js';
import {
  PduOpcode,
  TaskManagementFunction,
  TaskManagementStatus,
} from '../../../src/iscsi/codes.js';
import {
  TaskManagementRequestPdu,
  decodeTaskManagementRequest,
} from '../../../src/iscsi/request-wire.js';
import { DeliveryOutcome, ScsiCommand } from '../../../src/scsi/port.js';
import type { PortUnderTest } from '../../compliance/scsi-port-suite.js';
import type { SentPdu } from '../iscsi/datamover.js';
import { SessionBench, commandOf } from '../iscsi/session.js';
import { controlsOf, suiteDouble } from '../scsi/double-under-test.js';
import { advance, passTime } from '../waiting.js';

/** The port of a session over the scripted datamover, which a small disk answers. */
export function scriptedUnderTest(): PortUnderTest {
  const bench = new SessionBench({
    limits: { countsDataIn: true },
    timeouts: { pingIntervalMs: 1e9 },
  });
  const { datamover, session, clock } = bench;
  const disk = suiteDouble();
  const commands = new Map<number, ScsiCommand>();

  const execute = (sent: SentPdu): void => {
    const { task, tag } = sent;
    if (task === null) throw new Error('a command without a task');
    const pdu = commandOf(sent);
    const command = new ScsiCommand(() => {
      commands.delete(tag);
      if (disk.isLost || command.outcome === DeliveryOutcome.aborted) return;
      const { status, residual, sense, senseLength, outcome } = command;
      task.placedBytes = command.dataLength - Math.max(0, residual);
      const isWithheld = outcome === DeliveryOutcome.dataMissing;
      const claimed = isWithheld ? 0 : residual;
      bench.respond(
        tag,
        {
          status,
          overflow: claimed < 0,
          underflow: claimed > 0,
          residual: Math.abs(claimed),
        },
        senseLength === 0
          ? undefined
          : Uint8Array.of(0, senseLength, ...sense.slice(0, senseLength)),
      );
    });
    command.cdb.set(pdu.cdb);
    command.slab = task.slab;
    command.slabOffset = task.slabOffset;
    command.dataLength = task.dataLength;
    command.direction = pdu.read
      ? DataDirection.in
      : pdu.write
        ? DataDirection.out
        : DataDirection.none;
    commands.set(tag, command);
    disk.execute(command);
  };

  const manage = (sent: SentPdu): void => {
    const request = new TaskManagementRequestPdu();
    decodeTaskManagementRequest(sent.view, 0, request);
    const answer = (status: number): void => bench.taskManagement(sent.tag, status);
    if (request.function === TaskManagementFunction.logicalUnitReset) {
      disk.resetLogicalUnit().then(
        () => answer(TaskManagementStatus.complete),
        () => answer(TaskManagementStatus.rejected),
      );
      return;
    }
    const command = commands.get(request.referencedTaskTag);
    if (command !== undefined) disk.abort(command);
    answer(command === undefined ? TaskManagementStatus.noSuchTask : TaskManagementStatus.complete);
  };

  datamover.onSent = (sent) => {
    if (sent.opcode === PduOpcode.scsiCommand) execute(sent);
    else if (sent.opcode === PduOpcode.taskManagementRequest) manage(sent);
    else if (sent.opcode === PduOpcode.logoutRequest) bench.logout(sent.tag);
  };

  return {
    port: session.lun(0),
    ...controlsOf(disk),
    lose: () => {
      disk.lose('the test wants it');
      datamover.drop(new Error('the test wants it'));
    },
    advance: (milliseconds) => advance(clock, milliseconds),
    async close() {
      disk.release();
      await passTime(clock, session.close());
    },
  };
}
