import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { LoginStage } from '../../src/iscsi/codes.js';
import {
  LoginRequestPdu,
  LogoutRequestPdu,
  NopOutPdu,
  ScsiCommandPdu,
  TaskManagementRequestPdu,
  TextRequestPdu,
  encodeLoginRequest,
  encodeLogoutRequest,
  encodeNopOut,
  encodeScsiCommand,
  encodeTaskManagementRequest,
  encodeTextRequest,
} from '../../src/iscsi/request-wire.js';
import { encodeText } from '../../src/iscsi/text.js';
import { RESERVED_TAG } from '../../src/iscsi/wire.js';
import { encodeLun } from '../../src/scsi/lun.js';
import {
  ISER_HEADERS_BYTES,
  IserControlHeader,
  encodeControlHeader,
} from '../../src/iscsi/iser-header.js';
import { MemoryStore } from '../../src/store/memory-store.js';
import { IwarpTransport } from '../../src/transport/iwarp/transport.js';
import { iserHeader } from '../support/iwarp/parties.js';
import { twinWrite } from '../support/iscsi/twin.js';
import { mpaFrame } from '../support/iwarp/frames.js';
import { BLOCK, pattern, read16, write16 } from '../support/target/cdbs.js';
import { TARGET_NAME, TargetBed } from '../support/target/bed.js';
import type { TestInitiator } from '../support/target/initiator.js';
import { BugLog } from './bug-log.js';
import { FuzzInput } from './fuzz-input.js';
import { HostileWriter, StreamReader, check, overwrite } from './hostile-stream.js';
import { until } from '../support/waiting.js';

const STORE_BYTES = 1 << 20;
/** The witness's blocks: behind all that the hostile ones can be told of, on a unit of its own. */
const WITNESS_LUN = 1;
const WITNESS_BYTES = 16 * BLOCK;
/** A target answers an input of 400 bytes with no more than this; a READ of the largest size is part of it. */
const REPLY_BYTES_MAX = 64 << 20;
const MEMORY_BYTES_MAX = 1 << 30;
const TURNS_MAX = 50;
const NAMES = [TARGET_NAME, 'iqn.2026-11.io.example:none', ''];
const KEYS: readonly (readonly [string, readonly string[]])[] = [
  ['HeaderDigest', ['None', 'CRC32C', 'None,CRC32C', '']],
  ['MaxRecvDataSegmentLength', ['512', '8192', '16777215', '0', 'x']],
  ['InitiatorRecvDataSegmentLength', ['512', '262144', '511']],
  ['TargetRecvDataSegmentLength', ['8192', '0x2000', '1']],
  ['ImmediateData', ['Yes', 'No', 'maybe']],
  ['InitialR2T', ['Yes', 'No']],
  ['MaxConnections', ['1', '65535', '0']],
  ['ErrorRecoveryLevel', ['0', '2', '3']],
  ['FirstBurstLength', ['512', '65536', '16777216']],
  ['AuthMethod', ['None', 'CHAP', 'CHAP,None', 'SRP']],
  ['CHAP_A', ['5', '7', '']],
  ['X-unknown', ['1', 'NotUnderstood']],
];

/**
 * An initiator that sends whatever it likes: good PDUs, PDUs and FPDUs with any field changed, in any state of the
 * connection, and bytes that are nothing. Nothing may throw; what the target sends must be in step to the last byte; the
 * connection must be gone when the initiator's socket is, with all that it held; and a witness's session must go on.
 */
export async function fuzzHostileInitiator(bytes: Uint8Array): Promise<ReadonlySet<string>> {
  bench ??= Bench.start();
  const run = new Run(new FuzzInput(bytes), await bench);
  await run.run();
  return run.happened;
}

/** The target, and the witness; one for all inputs, so that harm done to it would show later too. */
class Bench {
  readonly bugs = new BugLog();
  readonly stores: readonly MemoryStore[];
  readonly bed: TargetBed;
  #witness: TestInitiator | null = null;
  #inputs = 0;
  #written = pattern(WITNESS_BYTES);

  private constructor() {
    this.stores = [STORE_BYTES, STORE_BYTES].map((sizeBytes) => new MemoryStore({ sizeBytes }));
    const transport = new IwarpTransport({ log: this.bugs.logger });
    this.bed = new TargetBed({ transport, luns: this.stores, log: this.bugs.logger });
  }

  static async start(): Promise<Bench> {
    const bench = new Bench();
    const { bed } = bench;
    bed.address = await bed.portal.listen({ host: '127.0.0.1', port: 0 });
    return bench;
  }

  /** Every few inputs the witness reads what it wrote, and now and then it writes something else. */
  async askWitness(): Promise<void> {
    if (this.#inputs++ % 8 !== 0) return;
    if (this.#witness === null) {
      const { TestInitiator: Initiator } = await import('../support/target/initiator.js');
      this.#witness = await Initiator.connect(new IwarpTransport(), this.bed.address);
      const { pdu } = await this.#witness.login(TARGET_NAME, {}, 0x77);
      check(pdu.statusClass === 0, 'the witness cannot log in');
      await this.#write();
    }
    const cdb = read16(0, WITNESS_BYTES / BLOCK);
    const { response, data } = await this.#execute({ cdb, read: WITNESS_BYTES });
    check(response.status === 0 && data.equals(this.#written), 'the witness reads something else');
    if (this.#inputs % 64 === 0) await this.#write();
  }

  async #write(): Promise<void> {
    this.#written = pattern(WITNESS_BYTES, this.#inputs);
    const cdb = write16(0, WITNESS_BYTES / BLOCK);
    const { response } = await this.#execute({ cdb, write: this.#written });
    check(response.status === 0, 'the witness cannot write');
  }

  /** Conditions that a hostile initiator brought about (a reset, reservations) are told first, and are its right. */
  async #execute(options: { cdb: readonly number[]; read?: number; write?: Uint8Array }) {
    check(this.#witness !== null, 'no witness');
    for (let attempt = 0; ; attempt++) {
      const result = await this.#witness.execute({ ...options, lun: WITNESS_LUN });
      if (result.response.status === 0 || attempt === 8) return result;
    }
  }

  /** Nothing is left of anybody but the witness. */
  async checkClean(): Promise<void> {
    const { portal } = this.bed;
    await until(() => portal.connectionCount <= 1 && portal.buffersUsed === 0, 10_000);
    check(portal.connectionCount <= 1, 'a connection that does not end');
    check(portal.sessionCount <= 1, 'a session that does not end');
    check(portal.buffersUsed === 0, 'a buffer that does not come back');
    for (const { pinnedChunks, lentChunks } of this.stores) {
      check(pinnedChunks === 0 && lentChunks === 0, 'a chunk that does not come back');
    }
    if (this.#inputs % 256 === 0) {
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      check(heapUsed + arrayBuffers < MEMORY_BYTES_MAX, 'memory without bound');
    }
    this.bugs.check();
  }
}

let bench: Promise<Bench> | null = null;

class Run {
  readonly happened = new Set<string>();
  readonly #input: FuzzInput;
  readonly #bench: Bench;
  readonly #reader = new StreamReader();
  readonly #writer: HostileWriter;
  readonly #usesCrc: boolean;
  #socket: Socket | null = null;
  #hasEnded = false;
  #failure: unknown = null;
  #cmdSn = 1;
  #tag = 0x100;

  constructor(input: FuzzInput, bench: Bench) {
    this.#input = input;
    this.#bench = bench;
    this.#usesCrc = input.flip();
    this.#writer = new HostileWriter(input, this.#usesCrc);
  }

  async run(): Promise<void> {
    const socket = await this.#connect();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    this.#write(this.#mpa());
    await this.#heard(() => this.#reader.mpa !== null);
    const logsIn = this.#input.below(4) > 0;
    if (logsIn) {
      this.#write(this.#writer.send(this.#login(true)));
      await this.#heard(() => this.#reader.messages.length > 0);
    }
    while (!this.#input.isEmpty && !this.#hasEnded) {
      this.#write(this.#step());
      if (this.#input.below(4) === 0) {
        const count = this.#reader.messages.length;
        await this.#heard(() => this.#reader.messages.length > count);
      }
    }
    if (this.#input.flip()) await this.#heard(() => false);
    if (this.#input.flip()) socket.end();
    else socket.destroy();
    await this.#bench.checkClean();
    socket.destroy();
    await closed;
    if (this.#failure !== null) throw new Error('a stream out of step', { cause: this.#failure });
    await this.#bench.askWitness();
    for (const { opcode, bytes } of this.#reader.messages) {
      this.happened.add(opcode === 7 ? 'terminated' : `opcode ${(bytes[28] ?? 0) & 0x3f}`);
    }
  }

  #connect(): Promise<Socket> {
    const socket = connect({ host: '127.0.0.1', port: this.#bench.bed.address.port });
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      try {
        this.#reader.receive(bytes);
        check(this.#reader.totalBytes <= REPLY_BYTES_MAX, 'replies without bound');
      } catch (error) {
        this.#failure ??= error;
        socket.destroy();
      }
    });
    socket.on('error', () => (this.#hasEnded = true));
    socket.on('end', () => (this.#hasEnded = true));
    socket.on('close', () => (this.#hasEnded = true));
    return new Promise((resolve, reject) => {
      socket.once('connect', () => resolve(socket));
      socket.once('error', reject);
    });
  }

  #write(bytes: Buffer): void {
    if (this.#socket === null || this.#hasEnded) return;
    for (const piece of this.#input.pieces(bytes)) this.#socket.write(piece);
  }

  #heard(condition: () => boolean): Promise<void> {
    return until(() => condition() || this.#hasEnded, TURNS_MAX);
  }

  #mpa(): Buffer {
    const flags = 0x10 | (this.#usesCrc ? 0x40 : 0);
    const depths = [this.#input.pick([128, 1, 0, 0x3fff]), 1] as const;
    const frame = mpaFrame({ kind: 'Req', flags, depths, privateData: iserHeader });
    if (this.#input.below(8) === 0) overwrite(this.#input, frame, 3);
    return frame;
  }

  #step(): Buffer {
    const input = this.#input;
    switch (input.below(40)) {
      case 0:
        return input.bytes(input.below(40));
      case 1:
      case 2:
        return this.#writer.violation([]);
      case 3:
        return this.#writer.send(input.bytes(input.below(120)), input.flip() ? input.byte() : null);
      default: {
        const message = this.#message();
        if (input.below(4) === 0) overwrite(input, message, 4);
        const cut = input.below(16) === 0 ? input.below(message.length + 1) : message.length;
        return this.#writer.send(message.subarray(0, cut), input.below(16) === 0 ? 0x100 : null);
      }
    }
  }

  #message(): Buffer {
    const input = this.#input;
    switch (input.below(10)) {
      case 0:
        return this.#login(false);
      case 1:
        return this.#pdu(new NopOutPdu(), encodeNopOut, input.bytes(input.below(32)));
      case 2:
        return this.#pdu(new TextRequestPdu(), encodeTextRequest, this.#text());
      case 3: {
        const pdu = new TaskManagementRequestPdu();
        // Those for the whole target end the witness's session too, which is an initiator's right.
        pdu.function = input.pick([1, 2, 3, 5, 8, 0, 9]);
        pdu.referencedTaskTag = this.#tag - input.below(4);
        pdu.refCmdSn = this.#cmdSn - input.below(3);
        return this.#pdu(pdu, encodeTaskManagementRequest);
      }
      case 4:
        return this.#pdu(new LogoutRequestPdu(), encodeLogoutRequest);
      case 5:
        return input.flip()
          ? this.#pdu(noTransfer(), naively('DataOut'), input.bytes(16))
          : this.#pdu(noTransfer(), naively('SnackRequest'));
      default:
        return this.#command();
    }
  }

  #command(): Buffer {
    const input = this.#input;
    const pdu = new ScsiCommandPdu();
    const header = new IserControlHeader();
    const blocks = input.pick([0, 1, 8, 64, 2048, 65_535]);
    const cdb = input.pick([
      read16(input.below(2100), blocks),
      write16(input.below(2100), blocks),
      [0x12, input.below(2), input.byte(), 0, 255, 0],
      [0xa0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0],
      [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],
      [...input.bytes(16)],
    ]);
    pdu.cdb.set(cdb);
    // The witness's unit is not touched: what others write there is no harm that a target could prevent.
    pdu.lunHigh = input.below(8) === 0 ? encodeLun(2 + input.below(4)) : 0;
    pdu.read = input.flip();
    pdu.write = input.flip();
    pdu.expectedDataTransferLength = input.pick([0, blocks * BLOCK, 4096, 0xffff_ffff]);
    pdu.attribute = input.below(8);
    if (input.flip()) {
      header.isReadStagValid = true;
      header.readStag = (input.below(65_536) << 8) >>> 0;
    }
    if (input.flip()) {
      header.isWriteStagValid = true;
      header.writeStag = (input.below(65_536) << 8) >>> 0;
    }
    const immediate =
      input.below(4) === 0 ? Buffer.alloc(input.pick([1, 512, 4096, 8192])) : Buffer.alloc(0);
    return this.#pdu(pdu, encodeScsiCommand, immediate, header);
  }

  #login(isGood: boolean): Buffer {
    const input = this.#input;
    const pdu = new LoginRequestPdu();
    pdu.transit = isGood || input.flip();
    pdu.currentStage = isGood ? LoginStage.operational : input.below(4);
    pdu.nextStage = isGood ? LoginStage.fullFeature : input.below(4);
    pdu.isidHigh = 0x0a0b;
    pdu.isidLow = 1 + (isGood ? 0 : input.below(3));
    const pairs = [
      { key: 'InitiatorName', value: 'iqn.2026-11.io.example:hostile' },
      { key: 'SessionType', value: isGood || input.flip() ? 'Normal' : 'Discovery' },
      { key: 'TargetName', value: isGood ? TARGET_NAME : input.pick(NAMES) },
      { key: 'RDMAExtensions', value: isGood || input.flip() ? 'Yes' : 'No' },
      ...(isGood ? [] : this.#pairs()),
    ];
    return this.#pdu(pdu, encodeLoginRequest, encodeText(pairs, 8192));
  }

  #pairs() {
    return Array.from({ length: this.#input.below(4) }, () => {
      const [key, values] = this.#input.pick(KEYS);
      return { key, value: this.#input.pick(values) };
    });
  }

  #text(): Uint8Array {
    const input = this.#input;
    const pairs = input.flip()
      ? [{ key: 'SendTargets', value: input.pick(['All', '', 'x']) }]
      : this.#pairs();
    return encodeText(pairs, 8192);
  }

  #pdu<T extends object>(
    pdu: T,
    encode: (view: DataView, offset: number, pdu: T) => void,
    data: Uint8Array = Buffer.alloc(0),
    header = new IserControlHeader(),
  ): Buffer {
    const input = this.#input;
    const isImmediate = !(pdu instanceof ScsiCommandPdu) || input.below(8) === 0;
    Object.assign(pdu, {
      immediate: isImmediate,
      initiatorTaskTag: input.below(16) === 0 ? 0xffff_ffff : this.#tag++,
      cmdSn: this.#cmdSn,
      dataSegmentLength: data.length,
    });
    if (!isImmediate) this.#cmdSn++;
    const message = Buffer.alloc(ISER_HEADERS_BYTES + ((data.length + 3) & ~3));
    const view = new DataView(message.buffer, message.byteOffset, message.length);
    encode(view, 28, pdu);
    encodeControlHeader(view, 0, header);
    message.set(data, ISER_HEADERS_BYTES);
    return message;
  }
}

function noTransfer(): Record<string, number | boolean> {
  return { final: true, targetTransferTag: RESERVED_TAG };
}

/** The naive codec's writer of what the product has no codec for. */
function naively(name: string) {
  return (view: DataView, offset: number, pdu: Record<string, number | boolean>): void =>
    twinWrite(view, offset, name, pdu);
}
