import type { Clock } from '../common/clock.js';
import { UsageError } from '../common/errors.js';
import type { Logger } from '../observe/log.js';
import { IwarpTransport } from '../transport/iwarp/transport.js';
import { MemoryFabric } from '../transport/memory/fabric.js';
import { SoftDevice } from '../transport/rnic/device.js';
import type { RdmaTransport } from '../transport/verbs.js';
import type { TransportChoice } from './url.js';

export interface TransportServices {
  readonly log: Logger;
  readonly clock: Clock;
}

/**
 * The transports of a process. Each is made on first use, and shared by all users of the same choice. All transports of a
 * kind share one RDMA device, so their sessions share its completion queues.
 */
export class Transports {
  readonly #services: TransportServices;
  readonly #fabric: MemoryFabric;
  #memory: RdmaTransport | null = null;
  #iwarpDevice: SoftDevice | null = null;
  /** By the options of their choice. */
  readonly #iwarp = new Map<string, RdmaTransport>();

  constructor(services: TransportServices) {
    this.#services = services;
    this.#fabric = new MemoryFabric(services.clock);
  }

  /**
   * The transport to a remote target.
   *
   * @throws UsageError for a transport that this version does not have
   */
  choose({ transport, crc, fpduBytes }: TransportChoice): RdmaTransport {
    if (transport === 'native') {
      throw new UsageError(
        'transport',
        'transport=native is not part of this version; transport=iwarp reaches any iWARP target over TCP',
      );
    }
    const key = `${crc} ${fpduBytes}`;
    const present = this.#iwarp.get(key);
    if (present !== undefined) return present;
    this.#iwarpDevice ??= new SoftDevice('iwarp0');
    const made = new IwarpTransport({
      ...this.#services,
      device: this.#iwarpDevice,
      crc: crc ? 'on' : 'off',
      ...(fpduBytes === null ? {} : { fpduBytes }),
    });
    this.#iwarp.set(key, made);
    return made;
  }

  /** The transport to a target in this process. */
  get memory(): RdmaTransport {
    return (this.#memory ??= this.#fabric.createTransport());
  }

  /** Makes the transport of a target in this process. The target has its own device, like one on another machine. */
  createTargetTransport(): RdmaTransport {
    return this.#fabric.createTransport();
  }
}
