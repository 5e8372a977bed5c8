import { ManualClock } from '../common/manual-clock.js';
import { connectSession } from '../../../src/initiator/connect.js';
import type { IserConnection } from '../../../src/iser/connection.js';
import type { RegistrationScheme } from '../../../src/iser/device.js';
import { connectIser } from '../../../src/iser/initiator.js';
import { IserModule } from '../../../src/iser/module.js';
import { silentLogger } from '../../../src/observe/log.js';
import { DecodedCdb, OperationCode, decodeCdb } from '../../../src/scsi/wire.js';
import { MemoryStore } from '../../../src/store/memory-store.js';
import type { FaultInjector, InjectedFault } from '../../../src/target/session/faults.js';
import { TargetPortal } from '../../../src/target/session/portal.js';
import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import { MemoryFabric } from '../../../src/transport/memory/fabric.js';
import type { RdmaTransport } from '../../../src/transport/verbs.js';
import type { PortUnderTest } from '../../compliance/scsi-port-suite.js';
import { DISK_BYTES_MIN } from '../../compliance/scsi-port-suite.js';
import { TARGET_NAME } from '../target/bed.js';
import { advance, passTime } from '../waiting.js';

export interface SessionPath {
  readonly over: 'memory' | 'iWARP';
  readonly registration: RegistrationScheme;
}

/** The port of a session with our own target, over a transport of ours. */
export async function sessionUnderTest(path: SessionPath): Promise<PortUnderTest> {
  const clock = new ManualClock();
  const faults = new Arrivals();
  const [near, far] = transportsOf(path, clock);
  const store = new MemoryStore({ sizeBytes: DISK_BYTES_MIN });
  const target = new TargetPortal({
    transport: far,
    name: TARGET_NAME,
    luns: [store],
    clock,
    faults,
  });
  const host = path.over === 'memory' ? 'lab' : '127.0.0.1';
  const address = await target.listen({ host, port: 0 });
  const module = new IserModule({ onlineCpus: 1, registration: path.registration });
  const log = silentLogger;
  let datamover: IserConnection | null = null;
  const session = await connectSession({
    connect: async (portal) => {
      const connection = await connectIser(module, {
        transport: near,
        address: portal,
        clock,
        log,
      });
      return (datamover = connection as IserConnection);
    },
    portal: address,
    initiatorName: 'iqn.2026-11.io.example:host',
    targetName: TARGET_NAME,
    clock,
    log,
  });
  return {
    port: session.lun(0),
    arrived: () => faults.reads,
    hold: () => void (faults.isHolding = true),
    release: () => faults.release(),
    lose: () => {
      if (datamover?.isUp === true) datamover.rdma.queuePair?.setError();
    },
    withholdNext: (bytes) => void (faults.withheldTo = bytes),
    refuseNextReset: null,
    advance: (milliseconds) => advance(clock, milliseconds),
    async close() {
      faults.release();
      await passTime(clock, session.close());
      await passTime(clock, module.terminateAll());
      await passTime(clock, target.close());
    },
  };
}

function transportsOf({ over }: SessionPath, clock: ManualClock): [RdmaTransport, RdmaTransport] {
  if (over === 'iWARP') return [new IwarpTransport({ clock }), new IwarpTransport({ clock })];
  const fabric = new MemoryFabric(clock);
  return [fabric.createTransport(), fabric.createTransport()];
}

/** Notes the reads that the target gets, and keeps commands back while it is told to. */
class Arrivals implements FaultInjector {
  readonly reads: number[] = [];
  isHolding = false;
  withheldTo: number | null = null;
  readonly #held: (() => void)[] = [];
  readonly #cdb = new DecodedCdb();

  faultFor(cdb: Uint8Array): InjectedFault | null {
    const isRead = cdb[0] === OperationCode.read16;
    decodeCdb(new DataView(cdb.buffer, cdb.byteOffset, cdb.length), 0, this.#cdb);
    if (isRead) this.reads.push(this.#cdb.lba);
    if (this.isHolding) return { kind: 'hold', hold: (resume) => void this.#held.push(resume) };
    if (!isRead || this.withheldTo === null) return null;
    const bytes = this.withheldTo;
    this.withheldTo = null;
    return { kind: 'withhold', bytes };
  }

  release(): void {
    this.isHolding = false;
    for (const resume of this.#held.splice(0)) resume();
  }
}
