import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { ManualClock } from '../support/common/manual-clock.js';
import { IserNbdError } from '../../src/common/errors.js';
import { Slab } from '../../src/common/slab.js';
import { LoginStage, PduOpcode } from '../../src/iscsi/codes.js';
import { connectSession } from '../../src/initiator/connect.js';
import {
  AsyncMessagePdu,
  LoginResponsePdu,
  LogoutResponsePdu,
  NopInPdu,
  RejectPdu,
  ScsiResponsePdu,
  TaskManagementResponsePdu,
  TextResponsePdu,
  encodeLoginResponse,
  encodeLogoutResponse,
  encodeNopIn,
  encodeReject,
  encodeScsiResponse,
  encodeTaskManagementResponse,
  encodeTextResponse,
} from '../../src/iscsi/response-wire.js';
import type { IscsiSession } from '../../src/initiator/session.js';
import { encodeText } from '../../src/iscsi/text.js';
import { RESERVED_TAG, opcodeAt, taskTagAt } from '../../src/iscsi/wire.js';
import { connectIser } from '../../src/iser/initiator.js';
import { IserModule } from '../../src/iser/module.js';
import {
  ISER_HEADERS_BYTES,
  IserControlHeader,
  decodeControlHeader,
  encodePlainHeader,
} from '../../src/iscsi/iser-header.js';
import { ScsiCommand } from '../../src/scsi/port.js';
import { DataDirection } from '../../src/common/data-direction.js';
import { IwarpTransport } from '../../src/transport/iwarp/transport.js';
import { twinWrite } from '../support/iscsi/twin.js';
import { iserHeader } from '../support/iwarp/parties.js';
import { mpaFrame } from '../support/iwarp/frames.js';
import { read16, write16 } from '../support/target/cdbs.js';
import { BugLog } from './bug-log.js';
import { FuzzInput } from './fuzz-input.js';
import { HostileWriter, StreamReader, check, overwrite } from './hostile-stream.js';
import { turn, until } from '../support/waiting.js';

const COMMANDS = 6;
const SLOT_BYTES = 8192;
const GUARD = 0x5a;
const TURNS_MAX = 50;
/** An initiator answers an input of 400 bytes with no more than its commands and its pings. */
const SENT_BYTES_MAX = 4 << 20;
const MEMORY_BYTES_MAX = 1 << 30;
const KEYS: readonly (readonly [string, readonly string[]])[] = [
  ['TargetPortalGroupTag', ['1', '65535', '65536', 'x']],
  ['HeaderDigest', ['None', 'CRC32C']],
  ['MaxRecvDataSegmentLength', ['512', '8192', '0']],
  ['InitiatorRecvDataSegmentLength', ['512', '262144', '1']],
  ['TargetRecvDataSegmentLength', ['8192', '512', '16777216']],
  ['MaxOutstandingUnexpectedPDUs', ['0', '1', '2', '4294967296']],
  ['ImmediateData', ['Yes', 'No', 'x']],
  ['FirstBurstLength', ['512', '65536', '1']],
  ['MaxBurstLength', ['512', '262144', '16777216']],
  ['ErrorRecoveryLevel', ['0', '1']],
  ['AuthMethod', ['None', 'CHAP', 'Reject']],
  ['TargetAddress', ['127.0.0.1:3260,1', '[::1]', 'x:y:z', '']],
  ['X-unknown', ['1']],
];

/**
 * A target that answers an initiator as it likes: rightly, with any field changed, late, twice, never, for commands that
 * there are not, with data for any memory, and with bytes that are nothing. Nothing may throw that is no operating error; every
 * command ends once; memory that no command lent is as it was; what the initiator sends is in step to the last byte; and
 * nothing is left.
 */
export async function fuzzHostileTarget(bytes: Uint8Array): Promise<ReadonlySet<string>> {
  const run = new Run(new FuzzInput(bytes));
  await run.run();
  return run.happened;
}

let inputs = 0;

class Run {
  readonly happened = new Set<string>();
  readonly #input: FuzzInput;
  readonly #clock = new ManualClock();
  readonly #bugs = new BugLog();
  readonly #module = new IserModule();
  readonly #slab = new Slab(2 * COMMANDS * SLOT_BYTES);
  readonly #ends: number[] = Array.from({ length: COMMANDS }, () => 0);
  #failure: unknown = null;

  constructor(input: FuzzInput) {
    this.#input = input;
    this.#slab.bytes.fill(GUARD);
  }

  async run(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      await this.#initiate(port);
      await until(() => this.#module.deviceCount === 0, 10_000);
      check(this.#module.deviceCount === 0, 'a connection that does not end');
      this.#bugs.check();
      if (this.#failure !== null) throw new Error('out of step', { cause: this.#failure });
      this.#checkGuards();
      if (++inputs % 256 === 0) {
        const { heapUsed, arrayBuffers } = process.memoryUsage();
        check(heapUsed + arrayBuffers < MEMORY_BYTES_MAX, 'memory without bound');
      }
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #initiate(port: number): Promise<void> {
    const clock = this.#clock;
    const log = this.#bugs.logger;
    const crc = this.#input.flip() ? 'on' : 'off';
    const transport = new IwarpTransport({ clock, log, crc });
    const portal = { host: '127.0.0.1', port };
    let session: IscsiSession;
    try {
      session = await this.#passTime(
        connectSession({
          // Wherever a redirection points: nobody but this target is called.
          connect: () => connectIser(this.#module, { transport, address: portal, clock, log }),
          portal,
          initiatorName: 'iqn.2026-11.io.example:i',
          targetName: 'iqn.2026-11.io.example:t',
          clock,
          log,
        }),
      );
    } catch (error) {
      if (!(error instanceof IserNbdError)) throw error;
      this.happened.add(`login: ${error.code}`);
      return;
    }
    this.happened.add('logged in');
    for (let index = 0; index < COMMANDS; index++) this.#execute(session, index);
    await this.#passTime(
      until(() => this.#ends.every((count) => count > 0) || !session.isUp, 100_000),
    );
    await this.#passTime(session.close());
    check(
      this.#ends.every((count) => count === 1),
      `commands ended ${this.#ends.join(', ')} times`,
    );
  }

  /** Lets time pass, slowly as long as the target may still do something, until it has happened. */
  async #passTime<T>(something: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    something.then(over, over);
    for (let count = 0; !isOver; count++) {
      await turn();
      if (count > TURNS_MAX) this.#clock.advance(500);
    }
    return something;
  }

  #execute(session: IscsiSession, index: number): void {
    const command = new ScsiCommand(({ outcome }) => {
      this.#ends[index] = (this.#ends[index] ?? 0) + 1;
      this.happened.add(`outcome ${outcome}`);
    });
    const isRead = index % 2 === 0;
    command.cdb.set(isRead ? read16(index, 16) : write16(index, 16));
    command.direction = isRead ? DataDirection.in : DataDirection.out;
    command.dataLength = index === COMMANDS - 1 ? 512 : SLOT_BYTES;
    command.slab = this.#slab;
    command.slabOffset = 2 * index * SLOT_BYTES;
    session.lun(index % 2).execute(command);
  }

  /** Between the buffers that commands lent, and in those that were to be read by the target, nothing has changed. */
  #checkGuards(): void {
    for (let slot = 0; slot < 2 * COMMANDS; slot++) {
      if (slot % 4 === 0) continue;
      const bytes = this.#slab.bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES);
      check(
        bytes.every((byte) => byte === GUARD),
        'memory changed that was not lent',
      );
    }
  }

  #serve(socket: Socket): void {
    const connection = new HostileConnection(this.#input, socket);
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    socket.on('data', (bytes) => {
      try {
        connection.receive(bytes);
      } catch (error) {
        this.#failure ??= error;
        socket.destroy();
      }
    });
  }
}

/** The target's end of one connection. */
class HostileConnection {
  readonly #input: FuzzInput;
  readonly #socket: Socket;
  readonly #isGoodUntilLoggedIn: boolean;
  readonly #reader = new StreamReader();
  #writer: HostileWriter | null = null;
  #answered = 0;
  #statSn = 1;
  #cmdSn = 1;
  readonly #stags: number[] = [];
  readonly #tags: number[] = [];

  constructor(input: FuzzInput, socket: Socket) {
    this.#input = input;
    this.#socket = socket;
    this.#isGoodUntilLoggedIn = input.below(4) > 0;
  }

  receive(bytes: Buffer): void {
    const reader = this.#reader;
    reader.receive(bytes);
    check(reader.totalBytes <= SENT_BYTES_MAX, 'an initiator that does not stop');
    if (this.#writer === null && reader.mpa !== null) this.#acceptMpa(reader.mpa);
    while (this.#answered < reader.messages.length && !this.#socket.destroyed) {
      const message = reader.messages[this.#answered++];
      if (message === undefined || message.opcode === 7) return;
      if (message.bytes.length >= ISER_HEADERS_BYTES && message.opcode !== 1) {
        this.#answer(message.bytes);
      }
    }
  }

  #acceptMpa(request: Buffer): void {
    const input = this.#input;
    const asksCrc = ((request[16] ?? 0) & 0x40) !== 0;
    const usesCrc = asksCrc || input.flip();
    this.#writer = new HostileWriter(input, usesCrc);
    const frame = mpaFrame({
      kind: 'Rep',
      flags: 0x10 | (usesCrc ? 0x40 : 0),
      depths: [input.pick([16, 1, 0]), input.pick([1, 16, 0])],
      privateData: iserHeader,
    });
    if (input.below(16) === 0) overwrite(input, frame, 3);
    this.#write(frame);
  }

  #answer(request: Buffer): void {
    const input = this.#input;
    const view = new DataView(request.buffer, request.byteOffset, request.length);
    this.#note(view);
    const writer = this.#writer;
    if (writer === null) return;
    if (this.#isGoodUntilLoggedIn && opcodeAt(view, 28) === PduOpcode.loginRequest) {
      this.#write(this.#send(this.#login(view, taskTagAt(view, 28), true)));
      return;
    }
    // An input that is over is answered by nothing but the end.
    if (input.isEmpty) {
      this.#socket.end();
      return;
    }
    switch (input.below(32)) {
      case 0:
        this.#write(input.bytes(input.below(40)));
        return;
      case 1:
      case 2:
        this.#write(writer.violation(this.#stags));
        break;
      case 3:
        this.#write(writer.send(input.bytes(input.below(120))));
        return;
      case 4:
        this.#socket.destroy();
        return;
      case 5:
        return;
      case 6:
        this.#write(this.#send(this.#unasked()));
    }
    const response = this.#response(view);
    if (input.below(6) === 0) overwrite(input, response, 4);
    this.#write(this.#send(response));
  }

  #send(message: Buffer): Buffer {
    const writer = this.#writer;
    const invalidates = this.#stags.length > 0 && this.#input.below(8) === 0;
    const stag = invalidates ? this.#input.pick(this.#stags) : null;
    return writer?.send(message, stag) ?? Buffer.alloc(0);
  }

  #note(view: DataView): void {
    const header = new IserControlHeader();
    decodeControlHeader(view, 0, header);
    if (header.isReadStagValid) this.#stags.push(header.readStag);
    if (header.isWriteStagValid) this.#stags.push(header.writeStag);
    this.#tags.push(taskTagAt(view, 28));
    if (opcodeAt(view, 28) === PduOpcode.scsiCommand) this.#cmdSn++;
  }

  #response(request: DataView): Buffer {
    const input = this.#input;
    const tag = taskTagAt(request, 28);
    const kind =
      input.below(16) === 0 ? input.pick(Object.values(PduOpcode)) : opcodeAt(request, 28);
    switch (kind) {
      case PduOpcode.loginRequest:
        return this.#login(request, tag);
      case PduOpcode.nopOut:
        return this.#pdu(new NopInPdu(), encodeNopIn, tag);
      case PduOpcode.taskManagementRequest: {
        const pdu = new TaskManagementResponsePdu();
        pdu.response = input.pick([0, 0, 1, 2, 5, 255]);
        return this.#pdu(pdu, encodeTaskManagementResponse, tag);
      }
      case PduOpcode.textRequest:
        return this.#pdu(new TextResponsePdu(), encodeTextResponse, tag, this.#text([]));
      case PduOpcode.logoutRequest:
        return this.#pdu(new LogoutResponsePdu(), encodeLogoutResponse, tag);
      default: {
        const pdu = new ScsiResponsePdu();
        pdu.status = input.pick([0, 0, 2, 8, 0x18, 0x28]);
        pdu.underflow = input.below(4) === 0;
        pdu.residual = pdu.underflow ? input.pick([1, 512, 8192, 8193]) : 0;
        const sense = Buffer.from([0, 18, 0x70, 0, input.below(16), 0, 0, 0, 0, 10, 0, 0, 0, 0]);
        const data = pdu.status === 2 ? Buffer.concat([sense, input.bytes(6)]) : Buffer.alloc(0);
        return this.#pdu(
          pdu,
          encodeScsiResponse,
          input.below(8) === 0 ? this.#otherTag() : tag,
          data,
        );
      }
    }
  }

  #otherTag(): number {
    return this.#tags.length > 0 ? this.#input.pick(this.#tags) : 0;
  }

  /** What a target may send of itself. */
  #unasked(): Buffer {
    const input = this.#input;
    switch (input.below(3)) {
      case 0: {
        const pdu = new AsyncMessagePdu();
        pdu.event = input.pick([0, 1, 2, 3, 4, 5, 255]);
        pdu.parameter3 = input.below(4);
        return this.#pdu(pdu, writeAsyncMessage, RESERVED_TAG);
      }
      case 1: {
        const pdu = new RejectPdu();
        pdu.reason = input.below(16);
        return this.#pdu(pdu, encodeReject, RESERVED_TAG, input.bytes(48));
      }
      default: {
        const pdu = new NopInPdu();
        pdu.targetTransferTag = input.flip() ? RESERVED_TAG : input.below(65_536);
        return this.#pdu(pdu, encodeNopIn, RESERVED_TAG);
      }
    }
  }

  #login(request: DataView, tag: number, isGood = this.#input.below(4) > 0): Buffer {
    const input = this.#input;
    const pdu = new LoginResponsePdu();
    pdu.transit = isGood || input.flip();
    // Byte 1 of the request: T, C, CSG, NSG; the good answer agrees.
    const flags = request.getUint8(29);
    pdu.transit &&= isGood ? (flags & 0x80) !== 0 : true;
    pdu.currentStage = isGood ? (flags >> 2) & 3 : input.below(4);
    pdu.nextStage = isGood ? flags & 3 : input.below(4);
    pdu.isidHigh = request.getUint32(28 + 8);
    pdu.isidLow = request.getUint16(28 + 12);
    pdu.tsih = pdu.transit && pdu.nextStage === LoginStage.fullFeature ? 1 : 0;
    if (!isGood) {
      pdu.statusClass = input.pick([0, 0, 0, 1, 2, 3]);
      pdu.statusDetail = input.below(12);
    }
    const good = [
      { key: 'TargetPortalGroupTag', value: '1' },
      { key: 'RDMAExtensions', value: 'Yes' },
      { key: 'InitiatorRecvDataSegmentLength', value: '8192' },
      { key: 'TargetRecvDataSegmentLength', value: '8192' },
      { key: 'MaxOutstandingUnexpectedPDUs', value: '0' },
      { key: 'HeaderDigest', value: 'None' },
      { key: 'DataDigest', value: 'None' },
      { key: 'MaxConnections', value: '1' },
      { key: 'InitialR2T', value: 'Yes' },
      { key: 'ImmediateData', value: 'Yes' },
      { key: 'MaxBurstLength', value: '262144' },
      { key: 'FirstBurstLength', value: '65536' },
      { key: 'DefaultTime2Wait', value: '2' },
      { key: 'DefaultTime2Retain', value: '0' },
      { key: 'MaxOutstandingR2T', value: '1' },
      { key: 'ErrorRecoveryLevel', value: '0' },
      { key: 'DataPDUInOrder', value: 'Yes' },
      { key: 'DataSequenceInOrder', value: 'Yes' },
    ];
    const asked = Buffer.from(request.buffer, request.byteOffset, request.byteLength).toString(
      'latin1',
      ISER_HEADERS_BYTES,
    );
    const isFirst = this.#answered === 1;
    const answers = good.filter(({ key }) =>
      key === 'TargetPortalGroupTag' ? isFirst : asked.includes(`${key}=`),
    );
    if ((flags & 0x0c) === 0) answers.push({ key: 'AuthMethod', value: 'None' });
    return this.#pdu(
      pdu,
      encodeLoginResponse,
      tag,
      this.#text(isGood ? answers : answers.slice(input.below(6))),
    );
  }

  #text(pairs: readonly { key: string; value: string }[]): Uint8Array {
    const input = this.#input;
    const more = Array.from({ length: input.below(8) === 0 ? input.below(4) : 0 }, () => {
      const [key, values] = input.pick(KEYS);
      return { key, value: input.pick(values) };
    });
    return encodeText([...pairs, ...more], 8192);
  }

  #pdu<T extends object>(
    pdu: T,
    encode: (view: DataView, offset: number, pdu: T) => void,
    tag: number,
    data: Uint8Array = Buffer.alloc(0),
  ): Buffer {
    Object.assign(pdu, {
      initiatorTaskTag: tag,
      dataSegmentLength: data.length,
      statSn: this.#statSn++,
      expCmdSn: this.#cmdSn,
      maxCmdSn: this.#cmdSn + this.#input.pick([31, 31, 31, 0, 127]),
    });
    const message = Buffer.alloc(ISER_HEADERS_BYTES + ((data.length + 3) & ~3));
    const view = new DataView(message.buffer, message.byteOffset, message.length);
    encode(view, 28, pdu);
    encodePlainHeader(view, 0);
    message.set(data, ISER_HEADERS_BYTES);
    return message;
  }

  #write(bytes: Buffer): void {
    for (const piece of this.#input.pieces(bytes)) this.#socket.write(piece);
  }
}

function writeAsyncMessage(view: DataView, offset: number, pdu: AsyncMessagePdu): void {
  twinWrite(view, offset, 'AsyncMessage', { ...pdu });
}
