import { encodeLun } from '../../../src/scsi/lun.js';
import { Slab } from '../../../src/common/slab.js';
import { LoginStage, PduOpcode } from '../../../src/iscsi/codes.js';
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
} from '../../../src/iscsi/request-wire.js';
import {
  LoginResponsePdu,
  ScsiResponsePdu,
  TaskManagementResponsePdu,
  TextResponsePdu,
  decodeLoginResponse,
  decodeScsiResponse,
  decodeTaskManagementResponse,
  decodeTextResponse,
} from '../../../src/iscsi/response-wire.js';
import { decodeText, encodeText } from '../../../src/iscsi/text.js';
import {
  RESERVED_TAG,
  dataSegmentLengthAt,
  opcodeAt,
  paddedLength,
} from '../../../src/iscsi/wire.js';
import {
  ISER_HEADERS_BYTES,
  IserControlHeader,
  LOGIN_RECEIVE_BYTES,
  encodeControlHeader,
} from '../../../src/iscsi/iser-header.js';
import { Sense, decodeSense } from '../../../src/scsi/sense.js';
import {
  Access,
  ReceiveWorkRequest,
  SendWorkRequest,
  WorkOpcode,
  WorkStatus,
} from '../../../src/transport/verbs.js';
import type {
  ConnectionEvent,
  ConnectionId,
  ConnectionParameters,
  FastRegion,
  MemoryRegion,
  PortalAddress,
  ProtectionDomain,
  QueuePair,
  RdmaTransport,
} from '../../../src/transport/verbs.js';

/** A PDU from the target. Its bytes are copies. */
export interface ReceivedPdu {
  readonly opcode: number;
  /** The BHS is at 28, the data at 76. */
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly data: Uint8Array;
  readonly invalidatedKey: number | null;
}

export interface CommandOptions {
  readonly cdb: readonly number[];
  readonly lun?: number;
  /** Room for data-in; EDTL unless `expected` says otherwise. */
  readonly read?: number;
  readonly write?: Uint8Array;
  /** Leading bytes of `write` that go with the command. */
  readonly immediateBytes?: number;
  readonly expected?: number;
  readonly tag?: number;
  readonly cmdSn?: number;
  readonly isImmediate?: boolean;
  readonly attribute?: number;
  readonly isFinal?: boolean;
  /** Leaves the keys out of the iSER header. */
  readonly withoutKeys?: boolean;
}

/** A command that is under way. */
export interface SentCommand {
  readonly tag: number;
  readonly dataIn: Slab | null;
  readonly keys: readonly number[];
  /** What the keys belong to, to be deregistered by who sends many. */
  readonly regions: readonly FastRegion[];
}

export interface CommandResult {
  readonly response: ScsiResponsePdu;
  readonly sense: Sense;
  readonly data: Buffer;
  readonly invalidatedKey: number | null;
  readonly keys: readonly number[];
}

export interface ConnectOptions {
  readonly privateData?: Uint8Array;
  readonly responderResources?: number;
  readonly receives?: number;
  /** All receives but the first, which is for the login response, hold 76 + 128 bytes, as Linux's do. */
  readonly smallReceives?: boolean;
}

const SEND_SLOTS = 256;
const SEND_STRIDE = 9 * 1024;

/** An iSER initiator that does what a test tells it, right or wrong, with the verbs and the codecs alone. */
export class TestInitiator {
  readonly events: ConnectionEvent[] = [];
  readonly disconnected: Promise<string | null>;
  accepted: ConnectionParameters | null = null;
  cmdSn = 1;
  expStatSn = 0;
  nextTag = 0x100;
  readonly #id: ConnectionId;
  readonly #queue: ReceivedPdu[] = [];
  readonly #waiters: ((pdu: ReceivedPdu) => void)[] = [];
  readonly #sendSlab = new Slab(SEND_SLOTS * SEND_STRIDE);
  readonly #freeSends: SendWorkRequest[] = [];
  #domain: ProtectionDomain | null = null;
  #queuePair: QueuePair | null = null;
  #sendRegion: MemoryRegion | null = null;
  #resolveDisconnected: (reason: string | null) => void = () => {};
  #onEvent: (event: ConnectionEvent) => void = () => {};

  private constructor(transport: RdmaTransport) {
    this.disconnected = new Promise((resolve) => {
      this.#resolveDisconnected = resolve;
    });
    this.#id = transport.createId((event) => {
      this.events.push(event);
      if (event.type === 'disconnected') this.#resolveDisconnected(event.reason);
      this.#onEvent(event);
    });
  }

  /** Connects, or rejects with the event that ended the attempt. */
  static async connect(
    transport: RdmaTransport,
    address: PortalAddress,
    options: ConnectOptions = {},
  ): Promise<TestInitiator> {
    const initiator = new TestInitiator(transport);
    await initiator.#connect(address, options);
    return initiator;
  }

  async #connect(address: PortalAddress, options: ConnectOptions): Promise<void> {
    const id = this.#id;
    await this.#next('addressResolved', () => id.resolveAddress(address, 1000));
    await this.#next('routeResolved', () => id.resolveRoute(1000));
    const device = id.device!;
    const domain = device.allocateProtectionDomain();
    const completionQueue = device.createCompletionQueue({ depth: 4096, vector: 0 });
    this.#domain = domain;
    const queuePair = id.createQueuePair({
      protectionDomain: domain,
      completionQueue,
      sendRequestsMax: 1024,
      receiveRequestsMax: 1024,
    });
    this.#queuePair = queuePair;
    this.#postReceives(domain, queuePair, options);
    this.#sendRegion = domain.registerMemory(
      { slab: this.#sendSlab, offset: 0, length: this.#sendSlab.length },
      Access.none,
    );
    for (let index = 0; index < SEND_SLOTS; index++) {
      const request: SendWorkRequest = new SendWorkRequest(() => this.#freeSends.push(request), 1);
      request.sgeCount = 1;
      request.sges[0]!.set(this.#sendRegion, index * SEND_STRIDE, 0);
      this.#freeSends.push(request);
    }
    const { privateData = Uint8Array.of(0x80, 0, 0, 0), responderResources = 128 } = options;
    const event = await this.#next('established', () =>
      id.connect({ privateData, responderResources, initiatorDepth: 1 }),
    );
    if (event.type === 'established') this.accepted = event.parameters;
  }

  #next(type: ConnectionEvent['type'], action: () => void): Promise<ConnectionEvent> {
    return new Promise((resolve, reject) => {
      this.#onEvent = (event) => {
        if (event.type === type) resolve(event);
        else reject(new Error(`${event.type} instead of ${type}`));
      };
      action();
    }).finally(() => {
      this.#onEvent = () => {};
    }) as Promise<ConnectionEvent>;
  }

  #postReceives(domain: ProtectionDomain, queuePair: QueuePair, options: ConnectOptions): void {
    const { receives = 256, smallReceives = false } = options;
    const slab = new Slab(receives * LOGIN_RECEIVE_BYTES);
    const region = domain.registerMemory(
      { slab, offset: 0, length: slab.length },
      Access.localWrite,
    );
    for (let index = 0; index < receives; index++) {
      const offset = index * LOGIN_RECEIVE_BYTES;
      const receiveBytes =
        smallReceives && index > 0 ? ISER_HEADERS_BYTES + 128 : LOGIN_RECEIVE_BYTES;
      const request: ReceiveWorkRequest = new ReceiveWorkRequest((completion) => {
        if (completion.status !== WorkStatus.success) return;
        const bytes = Uint8Array.from(slab.bytes.subarray(offset, offset + completion.byteLength));
        this.#received(bytes, completion.withInvalidate ? completion.invalidatedKey : null);
        request.next = null;
        queuePair.postReceive(request);
      });
      request.sge.set(region, offset, receiveBytes);
      queuePair.postReceive(request);
    }
  }

  #received(bytes: Uint8Array, invalidatedKey: number | null): void {
    const view = new DataView(bytes.buffer);
    const dataLength = dataSegmentLengthAt(view, 28);
    const pdu: ReceivedPdu = {
      opcode: opcodeAt(view, 28),
      view,
      bytes,
      data: bytes.subarray(ISER_HEADERS_BYTES, ISER_HEADERS_BYTES + dataLength),
      invalidatedKey,
    };
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#queue.push(pdu);
    else waiter(pdu);
  }

  /** The next PDU from the target. Rejects when the connection ends first. */
  receive(): Promise<ReceivedPdu> {
    const queued = this.#queue.shift();
    if (queued !== undefined) return Promise.resolve(queued);
    return new Promise((resolve, reject) => {
      this.#waiters.push(resolve);
      void this.disconnected.then((reason) => reject(new Error(`disconnected: ${reason ?? ''}`)));
    });
  }

  get receivedCount(): number {
    return this.#queue.length;
  }

  /** Sends any bytes as one message. */
  sendRaw(bytes: Uint8Array): void {
    const request = this.#freeSends.pop()!;
    const sge = request.sges[0]!;
    const base = Math.floor(sge.offset / SEND_STRIDE) * SEND_STRIDE;
    this.#sendSlab.bytes.set(bytes, base);
    sge.set(this.#sendRegion!, base, bytes.length);
    request.opcode = WorkOpcode.send;
    request.next = null;
    this.#queuePair!.postSend(request);
  }

  /** Sends a PDU; `encode` writes the BHS at 28. */
  sendPdu(
    encode: (view: DataView, offset: number) => void,
    data: Uint8Array = new Uint8Array(),
    header = new IserControlHeader(),
  ): void {
    const bytes = new Uint8Array(ISER_HEADERS_BYTES + paddedLength(data.length));
    const view = new DataView(bytes.buffer);
    encode(view, 28);
    encodeControlHeader(view, 0, header);
    bytes.set(data, ISER_HEADERS_BYTES);
    this.sendRaw(bytes);
  }

  /** Makes memory of ours reachable for the target, under a key that it may invalidate. */
  register(slab: Slab, access: number): FastRegion {
    const region = this.#domain!.allocateFastRegion(slab.length);
    const request = new SendWorkRequest(() => {});
    request.opcode = WorkOpcode.registerMemory;
    request.fastRegion = region;
    request.registerSlab = slab;
    request.registerLength = slab.length;
    request.registerAccess = access;
    request.registerKey = region.nextKey();
    this.#queuePair!.postSend(request);
    return region;
  }

  // ---- login ----

  sendLogin(fields: Partial<LoginRequestPdu>, pairs: Record<string, string>): void {
    const data = encodeText(
      Object.entries(pairs).map(([key, value]) => ({ key, value })),
      8192,
    );
    this.sendLoginText(fields, data);
  }

  sendLoginText(fields: Partial<LoginRequestPdu>, data: Uint8Array): void {
    const pdu = new LoginRequestPdu();
    Object.assign(pdu, {
      immediate: true,
      cmdSn: this.cmdSn,
      expStatSn: this.expStatSn,
      initiatorTaskTag: 7,
      isidHigh: 0x0000_0a0b,
      isidLow: 1,
      ...fields,
      dataSegmentLength: data.length,
    });
    this.sendPdu((view, offset) => encodeLoginRequest(view, offset, pdu), data);
  }

  async receiveLogin(): Promise<{ pdu: LoginResponsePdu; keys: Map<string, string> }> {
    const received = await this.receive();
    if (received.opcode !== PduOpcode.loginResponse) throw new Error(`opcode ${received.opcode}`);
    const pdu = new LoginResponsePdu();
    decodeLoginResponse(received.view, 28, pdu);
    this.expStatSn = pdu.statSn + 1;
    const keys = new Map(decodeText(received.data).map(({ key, value }) => [key, value]));
    return { pdu, keys };
  }

  /** One request and its response. */
  async loginStep(fields: Partial<LoginRequestPdu>, pairs: Record<string, string>) {
    this.sendLogin(fields, pairs);
    return this.receiveLogin();
  }

  /** A whole login without authentication; resolves with its last response. */
  async login(targetName: string | null, extra: Record<string, string> = {}, isidLow = 1) {
    const { operational, fullFeature } = LoginStage;
    return this.loginStep(
      { transit: true, currentStage: operational, nextStage: fullFeature, isidLow },
      {
        InitiatorName: 'iqn.2026-11.io.example:initiator',
        ...(targetName === null
          ? { SessionType: 'Discovery' }
          : { SessionType: 'Normal', TargetName: targetName }),
        RDMAExtensions: 'Yes',
        ...extra,
      },
    );
  }

  // ---- full feature phase ----

  takeTag(): number {
    return this.nextTag++;
  }

  takeCmdSn(isImmediate = false): number {
    const cmdSn = this.cmdSn;
    if (!isImmediate) this.cmdSn = (cmdSn + 1) >>> 0;
    return cmdSn;
  }

  /** Sends a command; the slabs that its data is in come back with it. */
  sendCommand(options: CommandOptions): SentCommand {
    const { write, read = 0, immediateBytes = 0 } = options;
    const pdu = new ScsiCommandPdu();
    const header = new IserControlHeader();
    const keys: number[] = [];
    const regions: FastRegion[] = [];
    pdu.immediate = options.isImmediate ?? false;
    pdu.initiatorTaskTag = options.tag ?? this.takeTag();
    pdu.cmdSn = options.cmdSn ?? this.takeCmdSn(pdu.immediate);
    pdu.final = options.isFinal ?? true;
    pdu.attribute = options.attribute ?? 1;
    pdu.lunHigh = encodeLun(options.lun ?? 0);
    pdu.cdb.set(options.cdb);
    let dataIn: Slab | null = null;
    if (read > 0) {
      pdu.read = true;
      pdu.expectedDataTransferLength = options.expected ?? read;
      dataIn = new Slab(read);
      const region = this.register(dataIn, Access.localWrite | Access.remoteWrite);
      header.isReadStagValid = true;
      header.readStag = region.rkey;
      header.readAddressHigh = region.addressHigh;
      header.readAddressLow = region.addressLow;
      keys.push(region.rkey);
      regions.push(region);
    }
    if (write !== undefined) {
      pdu.write = true;
      pdu.expectedDataTransferLength = options.expected ?? write.length;
      if (immediateBytes < write.length) {
        const dataOut = new Slab(write.length);
        dataOut.bytes.set(write);
        const region = this.register(dataOut, Access.remoteRead);
        header.isWriteStagValid = true;
        header.writeStag = region.rkey;
        // Past the immediate data, which may cross into the upper half.
        const low = region.addressLow + immediateBytes;
        header.writeAddressHigh = region.addressHigh + (low > 0xffff_ffff ? 1 : 0);
        header.writeAddressLow = low >>> 0;
        keys.push(region.rkey);
        regions.push(region);
      }
    }
    const immediate = write?.subarray(0, immediateBytes) ?? new Uint8Array();
    pdu.dataSegmentLength = immediate.length;
    if (options.withoutKeys === true) header.clear();
    this.sendPdu((view, offset) => encodeScsiCommand(view, offset, pdu), immediate, header);
    return { tag: pdu.initiatorTaskTag, dataIn, keys, regions };
  }

  /** Sends a command and waits for the next PDU, which must be its response. */
  async execute(options: CommandOptions): Promise<CommandResult> {
    const { tag, dataIn, keys } = this.sendCommand(options);
    const { response, sense, invalidatedKey } = await this.receiveResponse();
    if (response.initiatorTaskTag !== tag) throw new Error('the response of another command');
    const moved = (options.read ?? 0) - (response.underflow ? response.residual : 0);
    const data = dataIn === null ? Buffer.alloc(0) : dataIn.bytes.subarray(0, Math.max(0, moved));
    return { response, sense, data, invalidatedKey, keys };
  }

  async receiveResponse() {
    const received = await this.receive();
    if (received.opcode !== PduOpcode.scsiResponse) {
      throw new Error(`opcode 0x${received.opcode.toString(16)} instead of a SCSI Response`);
    }
    const response = new ScsiResponsePdu();
    decodeScsiResponse(received.view, 28, response);
    const sense = new Sense();
    const senseData = received.data.subarray(2);
    decodeSense(Uint8Array.from(senseData), senseData.length, sense);
    return { response, sense, invalidatedKey: received.invalidatedKey };
  }

  /** Gets the unit attention of a new session out of the way. */
  async clearAttention(lun = 0): Promise<void> {
    await this.execute({ cdb: [0, 0, 0, 0, 0, 0], lun });
  }

  nopOut(data: Uint8Array = new Uint8Array(), fields: Partial<NopOutPdu> = {}): number {
    const pdu = new NopOutPdu();
    const immediate = fields.immediate ?? true;
    Object.assign(pdu, {
      immediate,
      initiatorTaskTag: this.takeTag(),
      cmdSn: this.takeCmdSn(immediate),
      targetTransferTag: RESERVED_TAG,
      ...fields,
      dataSegmentLength: data.length,
    });
    this.sendPdu((view, offset) => encodeNopOut(view, offset, pdu), data);
    return pdu.initiatorTaskTag;
  }

  sendTaskManagement(fields: Partial<TaskManagementRequestPdu>, lun = 0): void {
    const pdu = new TaskManagementRequestPdu();
    Object.assign(pdu, {
      immediate: true,
      initiatorTaskTag: this.takeTag(),
      cmdSn: this.cmdSn,
      lunHigh: encodeLun(lun),
      ...fields,
    });
    this.sendPdu((view, offset) => encodeTaskManagementRequest(view, offset, pdu));
  }

  async receiveTaskManagement(): Promise<number> {
    const received = await this.receive();
    if (received.opcode !== PduOpcode.taskManagementResponse) {
      throw new Error(`opcode 0x${received.opcode.toString(16)}`);
    }
    const pdu = new TaskManagementResponsePdu();
    decodeTaskManagementResponse(received.view, 28, pdu);
    return pdu.response;
  }

  async taskManagement(fields: Partial<TaskManagementRequestPdu>, lun = 0): Promise<number> {
    this.sendTaskManagement(fields, lun);
    return this.receiveTaskManagement();
  }

  sendText(fields: Partial<TextRequestPdu>, data: Uint8Array): void {
    const pdu = new TextRequestPdu();
    Object.assign(pdu, {
      initiatorTaskTag: 0x55,
      cmdSn: this.takeCmdSn(),
      targetTransferTag: RESERVED_TAG,
      ...fields,
      dataSegmentLength: data.length,
    });
    this.sendPdu((view, offset) => encodeTextRequest(view, offset, pdu), data);
  }

  async receiveText(): Promise<{ pdu: TextResponsePdu; data: Uint8Array }> {
    const received = await this.receive();
    if (received.opcode !== PduOpcode.textResponse) {
      throw new Error(`opcode 0x${received.opcode.toString(16)}`);
    }
    const pdu = new TextResponsePdu();
    decodeTextResponse(received.view, 28, pdu);
    return { pdu, data: received.data };
  }

  /** A text exchange with as many requests as the answer has pieces; resolves with the whole answer's pairs. */
  async text(pairs: Record<string, string>) {
    const request = Object.entries(pairs).map(([key, value]) => ({ key, value }));
    this.sendText({}, encodeText(request, 8192));
    const pieces: Uint8Array[] = [];
    for (;;) {
      const { pdu, data } = await this.receiveText();
      pieces.push(data);
      if (pdu.final) break;
      this.sendText({ targetTransferTag: pdu.targetTransferTag }, new Uint8Array());
    }
    return { pieces, pairs: decodeText(Buffer.concat(pieces)) };
  }

  sendLogout(fields: Partial<LogoutRequestPdu> = {}): void {
    const pdu = new LogoutRequestPdu();
    Object.assign(pdu, {
      immediate: true,
      initiatorTaskTag: this.takeTag(),
      cmdSn: this.cmdSn,
      ...fields,
    });
    this.sendPdu((view, offset) => encodeLogoutRequest(view, offset, pdu));
  }

  /** Ends the connection without a word. */
  vanish(): void {
    this.#id.destroy();
  }

  disconnect(): void {
    this.#id.disconnect();
  }
}
