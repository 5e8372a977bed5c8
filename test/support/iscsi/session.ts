import { ManualClock } from '../common/manual-clock.js';
import { Slab } from '../../../src/common/slab.js';
import type { DatamoverLimits } from '../../../src/iscsi/datamover.js';
import { PduOpcode } from '../../../src/iscsi/codes.js';
import { ScsiCommandPdu, decodeScsiCommand } from '../../../src/iscsi/request-wire.js';
import { DEFAULT_TIMEOUTS } from '../../../src/initiator/timeouts.js';
import type { IscsiTimeouts } from '../../../src/initiator/timeouts.js';
import { initialKeyValues } from '../../../src/iscsi/keys.js';
import type { KeyValues } from '../../../src/iscsi/keys.js';
import {
  AsyncMessagePdu,
  LogoutResponsePdu,
  NopInPdu,
  RejectPdu,
  ScsiResponsePdu,
  TaskManagementResponsePdu,
  TextResponsePdu,
  encodeLogoutResponse,
  encodeNopIn,
  encodeReject,
  encodeScsiResponse,
  encodeTaskManagementResponse,
  encodeTextResponse,
} from '../../../src/iscsi/response-wire.js';
import { IscsiSession } from '../../../src/initiator/session.js';
import type { ResponseNumbers } from '../../../src/iscsi/wire.js';
import { silentLogger } from '../../../src/observe/log.js';
import { ScsiCommand } from '../../../src/scsi/port.js';
import { DataDirection } from '../../../src/common/data-direction.js';
import { ScriptedDatamover } from './datamover.js';
import type { SentPdu } from './datamover.js';
import { twinWrite } from './twin.js';

export interface SessionSetup {
  readonly cmdSn?: number;
  readonly window?: number;
  readonly tasks?: number;
  readonly limits?: Partial<DatamoverLimits>;
  readonly keys?: Partial<KeyValues>;
  readonly declared?: Partial<KeyValues>;
  readonly timeouts?: Partial<IscsiTimeouts>;
}

/** A session in full feature phase over a {@link ScriptedDatamover}, and a target that says what the test wants. */
export class SessionBench {
  readonly clock = new ManualClock();
  readonly datamover: ScriptedDatamover;
  readonly session: IscsiSession;
  /** The target's numbers. */
  statSn = 500;
  expCmdSn: number;
  readonly window: number;
  readonly done: ScsiCommand[] = [];
  readonly slab = new Slab(1 << 20);

  constructor(setup: SessionSetup = {}) {
    const cmdSn = setup.cmdSn ?? 1;
    this.window = setup.window ?? 64;
    this.expCmdSn = cmdSn;
    this.datamover = new ScriptedDatamover(setup.limits);
    const tasks = this.datamover.allocateTasks(setup.tasks ?? 128);
    this.datamover.enterFullFeature();
    this.session = new IscsiSession({
      targetName: 'iqn.2026-11.io.example:array',
      portalName: 'scripted:3260',
      datamover: this.datamover,
      tasks,
      login: {
        sessionType: 'Normal',
        isid: { high: 0x80000001, low: 2 },
        tsih: 7,
        authMethod: 'None',
        keys: { ...initialKeyValues(), RDMAExtensions: true, ...setup.keys },
        declared: setup.declared ?? {},
        cmdSn,
        expStatSn: this.statSn,
        expCmdSn: cmdSn,
        maxCmdSn: (cmdSn + this.window - 1) >>> 0,
      },
      timeouts: { ...DEFAULT_TIMEOUTS, ...setup.timeouts },
      clock: this.clock,
      log: silentLogger,
    });
  }

  /** A command that notes its end in `done`. */
  command(direction: DataDirection = DataDirection.none, length = 0, cdb = 0): ScsiCommand {
    const command = new ScsiCommand((ended) => {
      this.datamover.events.push('done');
      this.done.push(ended);
    });
    command.cdb[0] = cdb;
    command.direction = direction;
    command.dataLength = length;
    if (length > 0) command.slab = this.slab;
    return command;
  }

  /** Executes `count` commands without data on LUN `lun`. */
  execute(count = 1, lun = 0): ScsiCommand[] {
    return Array.from({ length: count }, () => {
      const command = this.command();
      this.session.lun(lun).execute(command);
      return command;
    });
  }

  /** Lets the clock run, in steps small enough for answers in between. */
  advance(milliseconds: number): void {
    this.clock.advance(milliseconds);
  }

  respond(tag: number, changes: Partial<ScsiResponsePdu> = {}, data?: Uint8Array): void {
    this.expCmdSn = (this.expCmdSn + 1) >>> 0;
    const pdu = this.#fill(new ScsiResponsePdu(), tag, changes, data);
    this.#deliver((view) => encodeScsiResponse(view, 0, pdu), data);
  }

  nopIn(changes: Partial<NopInPdu> = {}): void {
    const isAnswer = changes.initiatorTaskTag !== 0xffff_ffff;
    const pdu = this.#fill(new NopInPdu(), changes.initiatorTaskTag ?? 0, changes);
    if (!isAnswer) this.statSn--;
    this.#deliver((view) => encodeNopIn(view, 0, pdu));
  }

  taskManagement(tag: number, response = 0): void {
    const pdu = this.#fill(new TaskManagementResponsePdu(), tag, { response });
    this.#deliver((view) => encodeTaskManagementResponse(view, 0, pdu));
  }

  text(tag: number, data: Uint8Array, changes: Partial<TextResponsePdu> = {}): void {
    const pdu = this.#fill(new TextResponsePdu(), tag, changes, data);
    this.#deliver((view) => encodeTextResponse(view, 0, pdu), data);
  }

  logout(tag: number, response = 0): void {
    const pdu = this.#fill(new LogoutResponsePdu(), tag, { response });
    this.#deliver((view) => encodeLogoutResponse(view, 0, pdu));
  }

  async(changes: Partial<AsyncMessagePdu>): void {
    const pdu = this.#fill(new AsyncMessagePdu(), 0xffff_ffff, changes);
    this.#deliver((view) => twinWrite(view, 0, 'AsyncMessage', { ...pdu }));
  }

  reject(rejected: SentPdu, reason: number): void {
    const pdu = this.#fill(new RejectPdu(), 0xffff_ffff, { reason }, rejected.bhs);
    this.#deliver((view) => encodeReject(view, 0, pdu), rejected.bhs);
  }

  #fill<T extends ResponseNumbers & { initiatorTaskTag: number; dataSegmentLength: number }>(
    pdu: T,
    tag: number,
    changes: Partial<T>,
    data?: Uint8Array,
  ): T {
    pdu.initiatorTaskTag = tag;
    pdu.dataSegmentLength = data?.length ?? 0;
    pdu.statSn = this.statSn++;
    pdu.expCmdSn = this.expCmdSn;
    pdu.maxCmdSn = (this.expCmdSn + this.window - 1) >>> 0;
    return Object.assign(pdu, changes);
  }

  #deliver(encode: (view: DataView) => void, data?: Uint8Array): void {
    const bhs = new Uint8Array(48);
    encode(new DataView(bhs.buffer));
    this.datamover.deliver(bhs, data);
  }
}

/** The reasons with which the port to LUN 0 is lost, as they come. */
export function watchLoss(bench: SessionBench): string[] {
  const reasons: string[] = [];
  bench.session.lun(0).listener = { onPortLost: (reason) => reasons.push(reason) };
  return reasons;
}

/** Answers the pings of the bench's session from now on. */
export function answerPings(bench: SessionBench): void {
  bench.datamover.onSent = (pdu) => {
    if (pdu.opcode === PduOpcode.nopOut) bench.nopIn({ initiatorTaskTag: pdu.tag });
  };
}

/** The fields of a SCSI command that was sent. */
export function commandOf(pdu: SentPdu): ScsiCommandPdu {
  const command = new ScsiCommandPdu();
  decodeScsiCommand(pdu.view, 0, command);
  return command;
}
