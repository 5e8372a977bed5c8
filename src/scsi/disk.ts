import { checkRequest } from '../block/check.js';
import { Completions } from '../block/completions.js';
import { BlockOp, BlockStatus } from '../block/device.js';
import type { BlockDevice, BlockDeviceInfo, BlockExtent, BlockRequest } from '../block/device.js';
import { clipExtents } from '../block/extents.js';
import { RequestQueue } from '../block/request-queue.js';
import { messageOf } from '../common/errors.js';
import { ControlChannel } from './control.js';
import type { ScsiServices } from './control.js';
import { abilitiesOf, deviceInfoOf } from './device-info.js';
import { DiskIo } from './disk-io.js';
import { DiskSteps, isFlush } from './disk-steps.js';
import { ScsiError } from './errors.js';
import { inspectLogicalUnit, readMedium } from './inspect.js';
import type { LogicalUnit, Medium } from './inspect.js';
import { queryLbaStatus } from './lba-status.js';
import { DISK_COMMANDS_MAX } from './limits.js';
import { DataDirection, DeliveryOutcome } from './port.js';
import type { ScsiPort } from './port.js';
import { describeFailure, judge } from './retry.js';
import type { Verdict } from './retry.js';
import { Asc, Sense, SenseKey, blockStatusOf } from './sense.js';
import { ScsiStatus, commandNameAt } from './wire.js';
import { WriteLedger } from './write-ledger.js';

/**
 * A logical unit as a block device. A request takes a slot from a pool as deep as the port's queue and goes through
 * its commands with it (see disk-steps.ts); requests that find no slot wait in order. How a command that did not
 * succeed goes on is in retry.ts.
 */
export class ScsiDisk implements BlockDevice {
  /** Called when the device's size has changed; `info` has the new one. */
  onCapacityChange: ((info: BlockDeviceInfo) => void) | null = null;
  /** Called once, when flushes have begun to fail because of something that happened here; see {@link loseWrites}. */
  onWritesLost: ((reason: string) => void) | null = null;
  /** Called once, when no request can succeed here any more, as the path to the logical unit is gone. */
  onLost: ((reason: string) => void) | null = null;

  readonly #port: ScsiPort;
  readonly #services: ScsiServices;
  readonly #control: ControlChannel;
  readonly #steps: DiskSteps;
  readonly #completions = new Completions();
  readonly #ledger: WriteLedger;
  readonly #sense = new Sense();
  readonly #ios: DiskIo[] = [];
  #freeIos: DiskIo | null = null;
  readonly #waiting = new RequestQueue();
  #unit: LogicalUnit;
  #info: BlockDeviceInfo;
  /** Requests under way, queries and refreshes. */
  #busyCount = 0;
  #isClosed = false;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  /** Why no request can succeed any more. */
  #lostReason: string | null = null;
  #isRefreshing = false;
  #refreshesAgain = false;

  private constructor(
    port: ScsiPort,
    services: ScsiServices,
    unit: LogicalUnit,
    { steps, commandsMax, isShared }: { steps: DiskSteps; commandsMax: number; isShared: boolean },
  ) {
    this.#ledger = new WriteLedger(isShared);
    this.#port = port;
    this.#services = services;
    this.#control = new ControlChannel(port, services);
    this.#steps = steps;
    this.#unit = unit;
    this.#info = deviceInfoOf(unit);
    const done = (io: DiskIo): void => this.#commandDone(io);
    for (let index = 0; index < commandsMax; index++) {
      const io = new DiskIo(index, done);
      this.#ios.push(io);
      io.nextFree = this.#freeIos;
      this.#freeIos = io;
    }
    port.listener = { onPortLost: (reason) => this.#lose(reason) };
  }

  /**
   * Finds out what is behind `port` and makes a disk of it. The port stays its owner's, who closes it after the disk.
   * `isShared`: flushes here must also cover what others wrote to the logical unit, so they fail when that may be lost.
   * @throws ScsiError when it is nothing that can be used as a disk
   */
  static async open(
    port: ScsiPort,
    services: ScsiServices,
    { isShared = false }: { readonly isShared?: boolean } = {},
  ): Promise<ScsiDisk> {
    const unit = await inspectLogicalUnit(port, services);
    const commandsMax = Math.max(1, Math.min(port.queueDepth, DISK_COMMANDS_MAX));
    const steps = new DiskSteps(unit, commandsMax);
    const { vendor, product, sizeBytes, blockBytes } = unit;
    services.log.info({ lun: port.name, vendor, product, sizeBytes, blockBytes }, 'disk opened');
    return new ScsiDisk(port, services, unit, { steps, commandsMax, isShared });
  }

  get info(): BlockDeviceInfo {
    return this.#info;
  }

  /** What the device told of itself. */
  get unit(): LogicalUnit {
    return this.#unit;
  }

  submit(request: BlockRequest): void {
    const status = this.#check(request);
    if (status !== BlockStatus.ok) {
      this.#completions.finishSoon(request, status);
      return;
    }
    this.#busyCount++;
    const io = this.#freeIos;
    if (io === null) {
      this.#waiting.push(request);
      return;
    }
    this.#freeIos = io.nextFree;
    this.#start(io, request);
  }

  /** @throws ScsiError when the range is not on the disk, or the device fails to tell */
  async queryExtents(offset: number, lengthBytes: number): Promise<readonly BlockExtent[]> {
    const { sizeBytes, minimumBytes } = this.#info;
    const lun = this.#port.name;
    if (this.#isClosed) throw new ScsiError('scsi-closed', `${lun} is being closed`, { lun });
    if (!(offset >= 0) || !(lengthBytes > 0) || offset + lengthBytes > sizeBytes) {
      const message = `${lun} has no ${lengthBytes} bytes at ${offset}`;
      throw new ScsiError('scsi-invalid-range', message, { lun, offset, lengthBytes });
    }
    const allocated: readonly BlockExtent[] = [{ lengthBytes, hole: false, zero: false }];
    if (!this.#steps.abilities.lbaStatus) return allocated;
    const lba = Math.floor(offset / minimumBytes);
    const blocks = Math.ceil((offset + lengthBytes) / minimumBytes) - lba;
    const { readZeroes, commands } = this.#unit;
    this.#busyCount++;
    try {
      const query = { lba, blocks, blockBytes: minimumBytes, readZeroes };
      const extents = await queryLbaStatus(this.#control, query);
      if (extents !== null) return clipExtents(extents, offset - lba * minimumBytes, lengthBytes);
      this.#adopt({ ...this.#unit, commands: { ...commands, getLbaStatus: false } });
      return allocated;
    } finally {
      this.#leave();
    }
  }

  /** Somebody else who shares the logical unit has learnt that writes are lost: no flush may succeed here either. */
  loseWrites(reason: string): void {
    if (this.#ledger.hasLost) return;
    this.#ledger.lose();
    const facts = { lun: this.#port.name, reason };
    const message = 'writes may be lost: flushes fail from now on, until the disk is opened again';
    this.#services.log.error(facts, message);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    if (this.#busyCount > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#port.listener = null;
    this.#steps.release();
  }

  #check(request: BlockRequest): BlockStatus {
    if (this.#isClosed) return BlockStatus.shutdown;
    if (this.#lostReason !== null) return BlockStatus.ioError;
    const status = checkRequest(this.#info, request);
    if (status !== BlockStatus.ok || request.op !== BlockOp.writeZeroes) return status;
    const isSlow = !this.#steps.abilities.writeSame;
    return isSlow && request.fastOnly ? BlockStatus.notSupported : BlockStatus.ok;
  }

  #start(io: DiskIo, request: BlockRequest): void {
    this.#steps.begin(io, request);
    this.#issue(io);
  }

  #issue(io: DiskIo): void {
    this.#steps.build(io);
    io.mark = this.#ledger.mark;
    this.#port.execute(io.command);
  }

  #commandDone(io: DiskIo): void {
    const { command } = io;
    const isGood =
      command.outcome === DeliveryOutcome.delivered && command.status === ScsiStatus.good;
    const verdict = isGood ? 'succeeded' : judge(command, this.#sense);
    if (verdict !== 'succeeded') {
      this.#recover(io, verdict);
    } else if (command.residual !== 0 && command.direction !== DataDirection.none) {
      this.#logFailure(io, `residual of ${command.residual} bytes`);
      this.#finish(io, BlockStatus.ioError);
    } else {
      this.#succeeded(io);
    }
  }

  #succeeded(io: DiskIo): void {
    const { step } = io;
    if (isFlush(step)) {
      this.#ledger.flushDone(io.mark);
      this.#finish(io, this.#ledger.hasLost ? BlockStatus.ioError : BlockStatus.ok);
      return;
    }
    if (this.#steps.leavesInCache(io)) this.#ledger.writeDone();
    if (!this.#steps.advance(io)) this.#finish(io, BlockStatus.ok);
    else if (this.#lostReason === null) this.#issue(io);
    else this.#finish(io, BlockStatus.ioError);
  }

  /** Sends the command again, now or later, or ends the request. */
  #recover(io: DiskIo, verdict: Verdict): void {
    const { clock, log } = this.#services;
    if (verdict === 'unitAttention') this.#attend();
    if (verdict === 'deferredError') {
      const sense = this.#sense.toString();
      log.error({ lun: this.#port.name, sense: this.#sense.triple }, `deferred error: ${sense}`);
      this.#loseWrites(sense);
    }
    const delayMs =
      verdict === 'failed' || this.#lostReason !== null
        ? -1
        : io.retries.delayMs(verdict, clock.nowMs());
    if (delayMs < 0) {
      this.#failed(io);
    } else if (delayMs === 0) {
      this.#issue(io);
    } else {
      io.backoff = clock.after(delayMs, () => {
        io.backoff = null;
        this.#issue(io);
      });
    }
  }

  /** Takes note of a unit attention; the command that met it was not executed. */
  #attend(): void {
    const { asc } = this.#sense;
    const { log } = this.#services;
    const sense = this.#sense.toString();
    log.warn({ lun: this.#port.name, sense: this.#sense.triple }, sense);
    if (mayEmptyCache(asc) && this.#steps.abilities.writeCache && this.#ledger.isDirty) {
      this.#loseWrites(sense);
    }
    if (asc === Asc.capacityChanged || asc === Asc.modeParametersChanged) void this.#refresh();
  }

  /** One line for a loss, however many flushes fail for it. */
  #loseWrites(reason: string): void {
    if (this.#ledger.hasLost) return;
    this.loseWrites(reason);
    this.onWritesLost?.(reason);
  }

  #failed(io: DiskIo): void {
    const { command } = io;
    const hasSense =
      command.outcome === DeliveryOutcome.delivered && command.status === ScsiStatus.checkCondition;
    if (hasSense && isUnknownCommand(this.#sense)) {
      const learned = this.#steps.learnRefusal(io, this.#unit);
      if (learned !== null) {
        this.#services.log.info(this.#factsOf(io), 'the device has no such command after all');
        this.#adopt(learned.unit);
        if (learned.goesOn) this.#issue(io);
        else this.#finish(io, BlockStatus.notSupported);
        return;
      }
      if (io.step === 'flush' && !this.#steps.abilities.writeCache) {
        // Without a cache there is nothing to synchronize, and some devices then have no command for it.
        this.#finish(io, this.#ledger.hasLost ? BlockStatus.ioError : BlockStatus.ok);
        return;
      }
    }
    this.#logFailure(io, describeFailure(command, this.#sense));
    if (hasSense && isFlush(io.step) && isWriteFailure(this.#sense)) {
      this.#loseWrites(this.#sense.toString());
    }
    this.#finish(io, hasSense ? blockStatusOf(this.#sense, contextOf(io)) : BlockStatus.ioError);
  }

  #logFailure(io: DiskIo, reason: string): void {
    if (this.#lostReason !== null) return;
    const { log } = this.#services;
    const facts = { ...this.#factsOf(io), reason };
    // One line says that the path is gone, after the commands have ended; those that go with it are not news.
    if (io.command.outcome === DeliveryOutcome.connectionLost) {
      log.debug(facts, 'SCSI command failed');
    } else {
      log.warn(facts, 'SCSI command failed');
    }
  }

  #factsOf({ command, lba, blocks }: DiskIo): object {
    const facts = { lun: this.#port.name, command: commandNameAt(command.cdbView, 0), lba, blocks };
    const hasSense = command.status === ScsiStatus.checkCondition;
    return hasSense ? { ...facts, sense: this.#sense.triple } : facts;
  }

  #finish(io: DiskIo, status: BlockStatus): void {
    const { request } = io;
    const next = this.#waiting.shift();
    if (next === null) this.#free(io);
    else this.#start(io, next);
    request.status = status;
    request.done(request);
    this.#leave();
  }

  #free(io: DiskIo): void {
    io.forget();
    io.nextFree = this.#freeIos;
    this.#freeIos = io;
  }

  #leave(): void {
    this.#busyCount--;
    if (this.#busyCount === 0) this.#onIdle?.();
  }

  /** No request succeeds from here on; those that wait, for a slot or another attempt, end now. */
  #lose(reason: string): void {
    if (this.#lostReason !== null) return;
    this.#lostReason = reason;
    this.#services.log.error({ lun: this.#port.name, reason }, 'disk lost');
    this.onLost?.(reason);
    for (;;) {
      const request = this.#waiting.shift();
      if (request === null) break;
      this.#completions.finishSoon(request, BlockStatus.ioError);
      this.#leave();
    }
    for (const io of this.#ios) {
      if (io.backoff === null) continue;
      io.backoff.cancel();
      io.backoff = null;
      this.#completions.finishSoon(io.request, BlockStatus.ioError);
      this.#free(io);
      this.#leave();
    }
  }

  /** Reads capacity and mode parameters again; calls that come meanwhile make it read once more. */
  async #refresh(): Promise<void> {
    this.#refreshesAgain = true;
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    this.#busyCount++;
    try {
      while (this.#refreshesAgain) {
        this.#refreshesAgain = false;
        this.#applyMedium(await readMedium(this.#control));
      }
    } catch (error) {
      const facts = { lun: this.#port.name, reason: messageOf(error) };
      this.#services.log.warn(facts, 'the changed device could not be read again');
    } finally {
      this.#isRefreshing = false;
      this.#leave();
    }
  }

  #applyMedium(medium: Medium): void {
    const { blockBytes, sizeBytes } = this.#unit;
    if (medium.blockBytes !== blockBytes) {
      this.#lose(`its block size changed from ${blockBytes} to ${medium.blockBytes} bytes`);
      return;
    }
    this.#adopt({ ...this.#unit, ...medium });
    if (medium.sizeBytes === sizeBytes) return;
    const facts = { lun: this.#port.name, from: sizeBytes, to: medium.sizeBytes };
    this.#services.log.warn(facts, 'disk changed its size');
    this.onCapacityChange?.(this.#info);
  }

  #adopt(unit: LogicalUnit): void {
    this.#unit = unit;
    this.#info = deviceInfoOf(unit);
    this.#steps.abilities = abilitiesOf(unit);
  }
}

function isUnknownCommand({ key, asc }: Sense): boolean {
  return (
    key === SenseKey.illegalRequest && (asc === Asc.invalidOpcode || asc === Asc.invalidFieldInCdb)
  );
}

/** The device could not write what it had in its cache, as far as a flush is concerned. */
function isWriteFailure({ key }: Sense): boolean {
  return key === SenseKey.mediumError || key === SenseKey.hardwareError;
}

/**
 * Unit attentions after which a volatile cache may be empty: SAM-5 6.2 lets a device tell of a power-on by any of the
 * three. A logical unit reset or a bus reset (29h/02h and 29h/03h), often another initiator's, keeps the cache.
 */
function mayEmptyCache(asc: number): boolean {
  return asc === Asc.powerOnOrReset || asc === Asc.powerOn || asc === Asc.deviceInternalReset;
}

function contextOf({ request: { op } }: DiskIo): 'read' | 'write' {
  return op === BlockOp.write || op === BlockOp.writeZeroes ? 'write' : 'read';
}
