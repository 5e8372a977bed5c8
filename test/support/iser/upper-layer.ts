import { ManualClock } from '../common/manual-clock.js';
import { Slab } from '../../../src/common/slab.js';
import type {
  DatamoverConnection,
  DatamoverHandler,
  DatamoverTask,
} from '../../../src/iscsi/datamover.js';
import { DataDirection } from '../../../src/common/data-direction.js';
import type { IserConnection } from '../../../src/iser/connection.js';
import type { IserConnectOptions } from '../../../src/iser/initiator.js';
import { connectIser } from '../../../src/iser/initiator.js';
import type { IserModuleOptions } from '../../../src/iser/module.js';
import { IserModule } from '../../../src/iser/module.js';
import { silentLogger } from '../../../src/observe/log.js';
import { MemoryFabric } from '../../../src/transport/memory/fabric.js';
import type { DeviceAttributes, RdmaTransport } from '../../../src/transport/verbs.js';
import type { IserPeerConnection, IserPeerOptions, PeerPdu } from './peer.js';
import { IserPeer } from './peer.js';

export const Op = {
  nopOut: 0x00,
  command: 0x01,
  login: 0x03,
  dataOut: 0x05,
  nopIn: 0x20,
  response: 0x21,
  loginResponse: 0x23,
  textResponse: 0x24,
} as const;

/** A BHS with the fields that the datamover looks at. */
export function bhsOf(opcode: number, tag: number, dataLength = 0, ahsWords = 0): Buffer {
  const bhs = Buffer.alloc(48);
  bhs[0] = opcode;
  bhs[4] = ahsWords;
  bhs.writeUIntBE(dataLength, 5, 3);
  bhs.writeUInt32BE(tag, 16);
  return bhs;
}

export interface UpwardPdu {
  readonly opcode: number;
  readonly tag: number;
  readonly data: Buffer;
}

/** What stands where the iSCSI layer stands. It finishes a command when its response comes. */
export class TestUpperLayer implements DatamoverHandler {
  readonly pdus: UpwardPdu[] = [];
  readonly commands = new Map<number, DatamoverTask>();
  readonly ended: Promise<Error | null>;
  terminateCount = 0;
  /** Tasks that were active when the end was told. */
  activeAtEnd = -1;
  finishesOnResponse = true;
  onPdu: ((pdu: UpwardPdu) => void) | null = null;
  onEnd: (() => void) | null = null;
  readonly connection: DatamoverConnection;
  tasks: readonly DatamoverTask[] = [];
  #resolveEnded: (error: Error | null) => void = () => undefined;
  #waiters: { count: number; resolve: () => void }[] = [];

  constructor(connection: DatamoverConnection) {
    this.connection = connection;
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    connection.handler = this;
  }

  controlNotify(view: DataView, bhs: number, dataOffset: number, dataLength: number): void {
    const opcode = view.getUint8(bhs) & 0x3f;
    const tag = view.getUint32(bhs + 16);
    const data = Buffer.alloc(dataLength);
    for (let at = 0; at < dataLength; at++) data[at] = view.getUint8(dataOffset + at);
    const pdu = { opcode, tag, data };
    this.pdus.push(pdu);
    const task = this.commands.get(tag);
    if (opcode === Op.response && task !== undefined && this.finishesOnResponse) this.finish(tag);
    this.onPdu?.(pdu);
    this.#waiters = this.#waiters.filter(({ count, resolve }) => {
      if (this.pdus.length >= count) resolve();
      return this.pdus.length < count;
    });
  }

  taskByTag(tag: number): DatamoverTask | null {
    return this.commands.get(tag) ?? null;
  }

  terminateNotify(error: Error | null): void {
    this.terminateCount++;
    this.activeAtEnd = this.tasks.filter((task) => task.isActive).length;
    this.onEnd?.();
    this.#resolveEnded(error);
  }

  finish(tag: number): void {
    const task = this.commands.get(tag);
    if (task === undefined) return;
    this.commands.delete(tag);
    this.connection.finishTask(task);
  }

  /** Resolves when `count` PDUs have come up in all. */
  async received(count: number): Promise<UpwardPdu> {
    if (this.pdus.length < count) {
      await new Promise<void>((resolve) => this.#waiters.push({ count, resolve }));
    }
    return this.pdus[count - 1]!;
  }

  /** Sends a read or write under `tag`. */
  command(
    task: DatamoverTask,
    tag: number,
    direction: DataDirection,
    data: { slab: Slab; offset: number; length: number } | null = null,
    immediateLength = 0,
  ): void {
    task.direction = direction;
    task.slab = data?.slab ?? null;
    task.slabOffset = data?.offset ?? 0;
    task.dataLength = data?.length ?? 0;
    task.immediateLength = immediateLength;
    const bhs = bhsOf(Op.command, tag, immediateLength);
    for (let at = 0; at < 48; at++) task.view.setUint8(task.bhsOffset + at, bhs[at]!);
    this.commands.set(tag, task);
    this.connection.sendCommand(task);
  }

  read(task: DatamoverTask, tag: number, slab: Slab, offset: number, length: number): void {
    this.command(task, tag, DataDirection.in, { slab, offset, length });
  }

  write(task: DatamoverTask, tag: number, slab: Slab, offset: number, length: number): void {
    this.command(task, tag, DataDirection.out, { slab, offset, length });
  }

  writeImmediate(
    task: DatamoverTask,
    tag: number,
    slab: Slab,
    offset: number,
    length: number,
  ): void {
    this.command(task, tag, DataDirection.out, { slab, offset, length }, length);
  }
}

export interface IserBedOptions {
  readonly module?: IserModuleOptions;
  readonly device?: Partial<DeviceAttributes>;
  readonly peer?: IserPeerOptions;
  readonly connect?: Partial<IserConnectOptions>;
  readonly tasks?: number;
  /** Instead of the memory fabric. */
  readonly transport?: () => RdmaTransport;
}

/** An initiator and a scripted peer, on a fabric of their own. */
export class IserBed {
  readonly clock = new ManualClock();
  readonly fabric = new MemoryFabric(this.clock);
  readonly transport: RdmaTransport;
  readonly module: IserModule;
  readonly slab = new Slab(256 * 1024);
  peer!: IserPeer;
  connection!: IserConnection;
  upper!: TestUpperLayer;
  far!: IserPeerConnection;

  private constructor(readonly options: IserBedOptions) {
    this.transport = options.transport?.() ?? this.fabric.createTransport(options.device);
    this.module = new IserModule({ onlineCpus: 1, ...options.module });
  }

  /** A listening peer, and nothing connected. */
  static async listening(options: IserBedOptions = {}): Promise<IserBed> {
    const bed = new IserBed(options);
    const transport = options.transport?.() ?? bed.fabric.createTransport();
    bed.peer = await IserPeer.listen(transport, options.peer);
    return bed;
  }

  /** Connected, nothing sent. */
  static async connected(options: IserBedOptions = {}): Promise<IserBed> {
    const bed = await IserBed.listening(options);
    const accepted = bed.peer.nextConnection();
    bed.connection = (await bed.connect()) as IserConnection;
    bed.upper = new TestUpperLayer(bed.connection);
    bed.far = await accepted;
    return bed;
  }

  /** Logged in with one exchange, and in full feature phase. */
  static async fullFeature(options: IserBedOptions = {}): Promise<IserBed> {
    const bed = await IserBed.connected(options);
    await bed.logIn();
    bed.upper.pdus.length = 0;
    bed.far.pdus.length = 0;
    return bed;
  }

  async logIn(): Promise<void> {
    const { upper, connection, far, options } = this;
    upper.tasks = connection.allocateTasks(options.tasks ?? 8);
    connection.enterFullFeature();
    connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    await far.received(1);
    far.send(bhsOf(Op.loginResponse, 1));
    await upper.received(1);
  }

  connect(options: Partial<IserConnectOptions> = {}): Promise<DatamoverConnection> {
    return connectIser(this.module, {
      transport: this.transport,
      address: this.peer.address,
      clock: this.clock,
      log: silentLogger,
      ...this.options.connect,
      ...options,
    });
  }

  get tasks(): readonly DatamoverTask[] {
    return this.upper.tasks;
  }

  /** Answers a command with a SCSI response, by Send with Invalidate of the key that it advertised if `invalidate`. */
  respond(pdu: PeerPdu, invalidate: boolean): void {
    const { header } = pdu;
    const key = header.isReadStagValid ? header.readStag : header.writeStag;
    const tag = pdu.bhs.readUInt32BE(16);
    this.far.send(
      bhsOf(Op.response, tag),
      undefined,
      invalidate && (header.isReadStagValid || header.isWriteStagValid) ? key : undefined,
    );
  }

  /** Ends both sides. */
  async close(): Promise<void> {
    await this.module.terminateAll();
    await this.peer.close();
  }
}
