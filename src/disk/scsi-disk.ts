import { checkRequest, isMutation } from '../block/check.js';
import { Completions } from '../block/completions.js';
import { BlockOp, BlockStatus } from '../block/device.js';
import type { BlockDevice, BlockDeviceInfo, BlockExtent, BlockRequest } from '../block/device.js';
import { clipExtents } from '../block/extents.js';
import { ControlChannel } from './control.js';
import type { ScsiServices } from './control.js';
import { deviceInfoOf } from './device-info.js';
import { DiskIo } from './disk-io.js';
import { DiskSteps, isFlush } from './disk-steps.js';
import { ScsiError } from './errors.js';
import { checkIdentity, identityOf } from './identity.js';
import type { UnitIdentity } from './identity.js';
import { inspectLogicalUnit, withRefusals } from './inspect.js';
import type { InspectedUnit } from './inspect.js';
import { queryLbaStatus } from './lba-status.js';
import { DISK_COMMANDS_MAX } from './limits.js';
import { DeliveryOutcome } from '../scsi/port.js';
import { FreeList } from '../common/free-list.js';
import { LinkedQueue } from '../common/linked-queue.js';
import { DataDirection } from '../common/data-direction.js';
import type { ScsiPort } from '../scsi/port.js';
import { describeFailure, judge } from './retry.js';
import type { Verdict } from './retry.js';
import * as meaning from '../scsi/sense-meaning.js';
import { Asc, Sense } from '../scsi/sense.js';
import { blockStatusOf } from './sense-status.js';
import { UnitWatch } from './unit-watch.js';
import type { UnitTrust, UnitWatchHost } from './unit-watch.js';
import { ScsiStatus, commandNameAt } from '../scsi/wire.js';
import { WriteLedger } from './write-ledger.js';

export interface DiskOptions {
  /** Others write to the unit. Flushes must cover their writes too, and fail when such writes may be lost. */
  readonly isShared?: boolean;
  /** The identity that the unit must have; null accepts every unit. */
  readonly expected?: UnitIdentity | null;
}

/**
 * A logical unit as a block device. A request takes a slot from a pool as deep as the port's queue, and keeps the
 * slot for all its commands (see disk-steps.ts). A request without a free slot waits in order. retry.ts decides what
 * follows a command that did not succeed.
 *
 * While the port may reach another unit (see unit-watch.ts), requests wait. Commands that have ended wait too,
 * because they may have been executed on the wrong disk.
 */
export class ScsiDisk implements BlockDevice {
  /** Called when the device's size has changed. `info` has the new size. */
  onCapacityChange: ((info: BlockDeviceInfo) => void) | null = null;
  /** Called once, when this disk finds that writes may be lost and flushes begin to fail; see {@link loseWrites}. */
  onWritesLost: ((reason: string) => void) | null = null;
  /** Called once, when the path to the logical unit has ended. No request can succeed any more. */
  onLost: ((reason: string) => void) | null = null;

  readonly #port: ScsiPort;
  readonly #services: ScsiServices;
  readonly #control: ControlChannel;
  readonly #steps: DiskSteps;
  readonly #completions = new Completions();
  readonly #ledger: WriteLedger;
  readonly #sense = new Sense();
  readonly #ios: DiskIo[] = [];
  readonly #freeIos: FreeList<DiskIo>;
  readonly #waiting = new LinkedQueue<BlockRequest>();
  #unit: InspectedUnit;
  #info: BlockDeviceInfo;
  /** The number of requests and extent queries under way. */
  #busyCount = 0;
  #isClosed = false;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  readonly #watch: UnitWatch;

  private constructor(
    port: ScsiPort,
    services: ScsiServices,
    unit: InspectedUnit,
    { isShared = false, expected = null }: DiskOptions,
  ) {
    this.#ledger = new WriteLedger(isShared);
    this.#port = port;
    this.#services = services;
    this.#control = new ControlChannel(port, services, (sense) => this.#attend(sense));
    const commandsMax = Math.max(1, Math.min(port.queueDepth, DISK_COMMANDS_MAX));
    this.#steps = new DiskSteps(unit, commandsMax);
    this.#unit = unit;
    this.#info = deviceInfoOf(unit);
    this.#watch = new UnitWatch(this.#watchHost(), unit, expected);
    const done = (io: DiskIo): void => this.#commandDone(io);
    this.#freeIos = new FreeList(commandsMax, () => {
      const io = new DiskIo(this.#ios.length, done);
      this.#ios.push(io);
      return io;
    });
    port.listener = { onPortLost: (reason) => this.#lose(reason) };
  }

  /**
   * Inspects the unit behind `port` and makes a disk of it. The owner of the port closes the port after the disk.
   * @throws ScsiError when the unit cannot be used as a disk, is not the expected one, or is one disk too many
   */
  static async open(
    port: ScsiPort,
    services: ScsiServices,
    options: DiskOptions = {},
  ): Promise<ScsiDisk> {
    const unit = await inspectLogicalUnit(port, services);
    checkIdentity(port.name, identityOf(unit), options.expected ?? null);
    const { vendor, product, sizeBytes, blockBytes } = unit;
    const disk = new ScsiDisk(port, services, unit, options);
    services.log.info({ lun: port.name, vendor, product, sizeBytes, blockBytes }, 'disk opened');
    return disk;
  }

  #watchHost(): UnitWatchHost {
    const { clock, log } = this.#services;
    return {
      name: this.#port.name,
      clock,
      log,
      inspect: () => inspectLogicalUnit(this.#port, this.#services, this.#control),
      adopt: (unit) => this.#adoptFound(unit),
      trustChanged: (trust) => this.#trustChanged(trust),
    };
  }

  get info(): BlockDeviceInfo {
    return this.#info;
  }

  /** The properties that the device reported. */
  get unit(): InspectedUnit {
    return this.#unit;
  }

  /** The identity of the unit. */
  get identity(): UnitIdentity {
    return this.#watch.identity;
  }

  submit(request: BlockRequest): void {
    const status = this.#check(request);
    if (status !== BlockStatus.ok) {
      this.#completions.finishSoon(request, status);
      return;
    }
    this.#busyCount++;
    const { trust } = this.#watch;
    if (this.#freeIos.isExhausted || trust !== 'trusted') {
      this.#waiting.push(request);
      if (trust === 'doubtful') this.#watch.demand();
      return;
    }
    this.#start(this.#freeIos.take(), request);
  }

  /** @throws ScsiError when the range is not on the disk, or a command fails */
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

  refresh(): Promise<void> {
    return this.#watch.refresh();
  }

  /** Another user of the logical unit found that writes may be lost. From now on every flush fails here, too. */
  loseWrites(reason: string): void {
    if (this.#ledger.hasLost) return;
    this.#ledger.lose();
    const facts = { lun: this.#port.name, reason };
    const message = 'writes may be lost: flushes fail from now on, until the disk is opened again';
    this.#services.log.error(facts, message);
  }

  /** From now on others write to the unit, and flushes here cover their writes too. */
  share(): void {
    this.#ledger.share();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    await this.#watch.close();
    // Requests that wait for the unit to become usable do not keep the disk open.
    if (this.#watch.trust === 'doubtful') this.#failAll();
    if (this.#busyCount > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#port.listener = null;
    this.#steps.release();
  }

  #check(request: BlockRequest): BlockStatus {
    if (this.#isClosed || request.requester.isGone) return BlockStatus.shutdown;
    const { trust } = this.#watch;
    if (trust === 'lost' || trust === 'foreign') return BlockStatus.ioError;
    const status = checkRequest(this.#info, request);
    if (status !== BlockStatus.ok || request.op !== BlockOp.writeZeroes) return status;
    const isSlow = !this.#steps.abilities.writeSame;
    return isSlow && request.fastOnly ? BlockStatus.notSupported : BlockStatus.ok;
  }

  #start(io: DiskIo, request: BlockRequest): void {
    this.#steps.begin(io, request);
    io.command.requester = request.requester;
    this.#issue(io);
  }

  /** Sends the command of the I/O's step. Ends the I/O if its requester is gone or the disk is unusable. */
  #issue(io: DiskIo): void {
    const { trust } = this.#watch;
    if (io.request.requester.isGone) this.#finishSoon(io, BlockStatus.shutdown);
    else if (trust === 'trusted') this.#send(io);
    else if (trust === 'checking') this.#park(io, false);
    else this.#finishSoon(io, BlockStatus.ioError);
  }

  #send(io: DiskIo): void {
    this.#steps.build(io);
    io.mark = this.#ledger.mark;
    this.#port.execute(io.command);
  }

  #commandDone(io: DiskIo): void {
    const { trust } = this.#watch;
    if (trust === 'trusted') this.#judge(io);
    else if (trust === 'checking') this.#park(io, true);
    else this.#finish(io, BlockStatus.ioError);
  }

  #judge(io: DiskIo): void {
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
    if (this.#steps.advance(io)) this.#issue(io);
    else this.#finish(io, BlockStatus.ok);
  }

  /** Sends the command again, now or later, or ends the request. */
  #recover(io: DiskIo, verdict: Verdict): void {
    const { clock, log } = this.#services;
    if (verdict === 'mismatch') {
      this.#finish(io, BlockStatus.mismatch);
      return;
    }
    if (verdict === 'unitAttention') this.#attend(this.#sense);
    if (verdict === 'deferredError') {
      const sense = this.#sense.toString();
      log.error({ lun: this.#port.name, sense: this.#sense.triple }, `deferred error: ${sense}`);
      this.#loseWrites(sense);
    }
    const delayMs = verdict === 'failed' ? -1 : io.retries.delayMs(verdict, clock.nowMs());
    if (delayMs < 0) {
      this.#failed(io);
    } else if (delayMs === 0) {
      if (verdict === 'timedOut')
        log.info(this.#factsOf(io), 'SCSI command sent again after a timeout');
      this.#issue(io);
    } else {
      io.backoff = clock.after(delayMs, () => {
        io.backoff = null;
        this.#issue(io);
      });
    }
  }

  /** Acts on a unit attention. The device did not execute the command that received the attention. */
  #attend(sense: Sense): void {
    const { asc } = sense;
    const { log } = this.#services;
    log.warn({ lun: this.#port.name, sense: sense.triple }, sense.toString());
    if (meaning.mayEmptyCache(asc) && this.#steps.abilities.writeCache && this.#ledger.isDirty) {
      this.#loseWrites(sense.toString());
    }
    if (meaning.mayEndCommands(asc)) this.#port.questionOutstanding();
    if (meaning.mayBeAnother(asc)) this.#watch.attend();
    else if (meaning.mayHaveChanged(asc)) this.#watch.noteChange();
  }

  /** Logs a loss once, even if many flushes fail because of it. */
  #loseWrites(reason: string): void {
    if (this.#ledger.hasLost) return;
    this.loseWrites(reason);
    this.onWritesLost?.(reason);
  }

  #failed(io: DiskIo): void {
    const { command } = io;
    const hasSense =
      command.outcome === DeliveryOutcome.delivered && command.status === ScsiStatus.checkCondition;
    if (hasSense && this.#sense.asc === Asc.invalidOpcode) {
      const unit = this.#steps.learnShortForm(io, this.#unit);
      if (unit !== null) {
        this.#services.log.info(this.#factsOf(io), 'the device supports only the 10-byte form');
        this.#adopt(unit);
        this.#issue(io);
        return;
      }
    }
    if (hasSense && meaning.isUnknownCommand(this.#sense)) {
      const learned = this.#steps.learnRefusal(io, this.#unit);
      if (learned !== null) {
        this.#services.log.info(this.#factsOf(io), 'the device does not support this command');
        this.#adopt(learned.unit);
        if (learned.goesOn) this.#issue(io);
        else this.#finish(io, BlockStatus.notSupported);
        return;
      }
      if (io.step === 'flush' && !this.#steps.abilities.writeCache) {
        // A device without a cache has nothing to synchronize, and may lack SYNCHRONIZE CACHE.
        this.#finish(io, this.#ledger.hasLost ? BlockStatus.ioError : BlockStatus.ok);
        return;
      }
    }
    this.#logFailure(io, describeFailure(command, this.#sense));
    if (hasSense && isFlush(io.step) && meaning.isWriteFailure(this.#sense)) {
      this.#loseWrites(this.#sense.toString());
    }
    if (hasSense && meaning.isMissing(this.#sense)) this.#watch.doubt(this.#sense.toString());
    // The port may reach another disk, or the disk may have another size.
    if (hasSense && this.#sense.asc === Asc.lbaOutOfRange) this.#watch.noteChange();
    this.#finish(io, hasSense ? blockStatusOf(this.#sense, contextOf(io)) : BlockStatus.ioError);
  }

  #logFailure(io: DiskIo, reason: string): void {
    const { log } = this.#services;
    const facts = { ...this.#factsOf(io), reason };
    // The loss of the path is logged once, after the commands have ended. Its failures are debug messages.
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
    this.#reuse(io);
    request.status = status;
    request.done(request);
    this.#leave();
  }

  /** Ends an I/O in a later turn, because its requester may still be inside `submit`. */
  #finishSoon(io: DiskIo, status: BlockStatus): void {
    this.#completions.finishSoon(io.request, status);
    this.#reuse(io);
    this.#leave();
  }

  /** Gives an I/O's slot to the next request. */
  #reuse(io: DiskIo): void {
    const next = this.#nextWaiting();
    if (next !== null) {
      this.#start(io, next);
      return;
    }
    io.forget();
    this.#freeIos.give(io);
  }

  /** The request that may start now. Requests whose requester is gone end here. */
  #nextWaiting(): BlockRequest | null {
    if (this.#watch.trust !== 'trusted') return null;
    for (;;) {
      const request = this.#waiting.shift();
      if (request?.requester.isGone !== true) return request;
      this.#completions.finishSoon(request, BlockStatus.shutdown);
      this.#leave();
    }
  }

  #leave(): void {
    this.#busyCount--;
    if (this.#busyCount === 0) this.#onIdle?.();
  }

  // Trust in the unit.

  /** Keeps an I/O until the watch knows the disk. `hasEnded`: the command has ended and is judged then. */
  #park(io: DiskIo, hasEnded: boolean): void {
    io.awaitsTrust = true;
    io.hasEnded = hasEnded;
  }

  #trustChanged(trust: UnitTrust): void {
    if (trust === 'checking') return;
    if (trust === 'trusted') this.#resume();
    else this.#failAll();
  }

  /** Resumes the parked I/Os, then starts the waiting requests. */
  #resume(): void {
    for (const io of this.#ios) {
      if (!io.awaitsTrust) continue;
      io.awaitsTrust = false;
      if (io.hasEnded) this.#commandDone(io);
      else this.#issue(io);
    }
    while (!this.#freeIos.isExhausted) {
      const request = this.#nextWaiting();
      if (request === null) return;
      this.#start(this.#freeIos.take(), request);
    }
  }

  /** Ends waiting requests, and I/Os that are parked or wait for a retry. The port ends the commands that it has. */
  #failAll(): void {
    for (;;) {
      const request = this.#waiting.shift();
      if (request === null) break;
      this.#completions.finishSoon(request, BlockStatus.ioError);
      this.#leave();
    }
    for (const io of this.#ios) {
      if (io.backoff === null && !io.awaitsTrust) continue;
      io.backoff?.cancel();
      io.backoff = null;
      io.awaitsTrust = false;
      this.#finishSoon(io, BlockStatus.ioError);
    }
  }

  /** No request succeeds from here on. */
  #lose(reason: string): void {
    if (this.#watch.trust === 'lost') return;
    this.#services.log.error({ lun: this.#port.name, reason }, 'disk lost');
    this.#watch.lose(reason);
    this.onLost?.(reason);
  }

  /** Takes over `found`, without the commands refused before. Returns why the unit cannot be used, or null. */
  #adoptFound(found: InspectedUnit): string | null {
    const { blockBytes, sizeBytes, readOnly, commands } = this.#unit;
    if (found.blockBytes !== blockBytes) {
      return `its block size changed from ${blockBytes} to ${found.blockBytes} bytes`;
    }
    this.#adopt({ ...found, commands: withRefusals(found.commands, commands) });
    const { log } = this.#services;
    const lun = this.#port.name;
    if (found.readOnly !== readOnly) {
      log.warn({ lun }, found.readOnly ? 'disk became read-only' : 'disk became writable');
    }
    if (found.sizeBytes !== sizeBytes) {
      log.warn({ lun, from: sizeBytes, to: found.sizeBytes }, 'disk changed its size');
      this.onCapacityChange?.(this.#info);
    }
    return null;
  }

  #adopt(unit: InspectedUnit): void {
    this.#unit = unit;
    this.#info = deviceInfoOf(unit);
    this.#steps.adopt(unit);
  }
}

function contextOf({ request: { op } }: DiskIo): 'read' | 'write' {
  return isMutation(op) && op !== BlockOp.trim ? 'write' : 'read';
}
