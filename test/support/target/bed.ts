import { ManualClock } from '../common/manual-clock.js';
import { MemoryStore } from '../../../src/store/memory-store.js';
import { TargetPortal } from '../../../src/target/session/portal.js';
import type { TargetPortalOptions } from '../../../src/target/session/portal.js';
import { FaultPlan } from '../../../src/target/session/faults.js';
import { MemoryFabric } from '../../../src/transport/memory/fabric.js';
import type { PortalAddress, RdmaTransport } from '../../../src/transport/verbs.js';
import { TestInitiator } from './initiator.js';
import type { ConnectOptions } from './initiator.js';
import { passTime } from '../waiting.js';

export const TARGET_NAME = 'iqn.2026-11.io.example:lab';

/** A target with one 8 MiB memory LUN on a fabric of its own, and initiators for it. */
export class TargetBed {
  readonly clock = new ManualClock();
  readonly faults = new FaultPlan();
  readonly fabric = new MemoryFabric(this.clock);
  readonly transport: RdmaTransport = this.fabric.createTransport();
  readonly logged: string[] = [];
  readonly portal: TargetPortal;
  address: PortalAddress = { host: 'lab', port: 3260 };

  constructor(options: Partial<TargetPortalOptions> = {}) {
    this.portal = new TargetPortal({
      transport: this.fabric.createTransport(),
      name: TARGET_NAME,
      luns: [new MemoryStore({ sizeBytes: 8 << 20 })],
      clock: this.clock,
      faults: this.faults,
      ...options,
    });
  }

  static async start(options: Partial<TargetPortalOptions> = {}): Promise<TargetBed> {
    const bed = new TargetBed(options);
    bed.address = await bed.portal.listen({ host: 'lab', port: 3260 });
    return bed;
  }

  connect(options: ConnectOptions = {}): Promise<TestInitiator> {
    return TestInitiator.connect(this.transport, this.address, options);
  }

  /** Connects from another host, as the target sees it. */
  connectFrom(host: string, options: ConnectOptions = {}): Promise<TestInitiator> {
    return TestInitiator.connect(this.fabric.createTransport({}, host), this.address, options);
  }

  /** A logged-in initiator, without its unit attention. */
  async initiator(isidLow = 1, options: ConnectOptions = {}): Promise<TestInitiator> {
    const initiator = await this.connect(options);
    const { pdu } = await initiator.login(TARGET_NAME, {}, isidLow);
    if (pdu.statusClass !== 0) throw new Error(`login status ${pdu.statusClass}`);
    await initiator.clearAttention();
    return initiator;
  }

  /** Closes the target; what it waits for may need the clock to move. */
  close(): Promise<void> {
    return this.passTime(this.portal.close());
  }

  /** Lets time pass until something has happened. */
  passTime<T>(something: Promise<T>): Promise<T> {
    return passTime(this.clock, something);
  }
}
