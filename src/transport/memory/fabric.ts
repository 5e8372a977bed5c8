import type { Clock } from '../../common/clock.js';
import { systemClock } from '../../common/clock.js';
import { SoftDevice } from '../rnic/device.js';
import type {
  ConnectionEventHandler,
  ConnectionId,
  DeviceAttributes,
  RdmaTransport,
} from '../verbs.js';
import { MemoryNetwork } from './network.js';
import { MemoryConnectionId } from './connection-id.js';

/**
 * A network inside of this process: listeners by `host:port`. Only transports of the same fabric reach each other.
 * Host names are not resolved, only compared.
 */
export class MemoryFabric {
  readonly #network: MemoryNetwork<MemoryConnectionId>;
  #devices = 0;

  constructor(clock: Clock = systemClock) {
    this.#network = new MemoryNetwork(clock);
  }

  /**
   * A transport with its own device. `overrides` lower the device's limits or name it. `host` is the source host that
   * peers see.
   */
  createTransport(overrides: Partial<DeviceAttributes> = {}, host = ''): RdmaTransport {
    return new MemoryTransport(
      this.#network,
      new SoftDevice(`memory${this.#devices++}`, overrides),
      host,
    );
  }
}

/** The memory transport: an {@link RdmaTransport} whose connections stay in this process. */
class MemoryTransport implements RdmaTransport {
  readonly name = 'memory';
  readonly #network: MemoryNetwork<MemoryConnectionId>;
  readonly #device: SoftDevice;
  readonly #host: string;

  constructor(network: MemoryNetwork<MemoryConnectionId>, device: SoftDevice, host: string) {
    this.#network = network;
    this.#device = device;
    this.#host = host;
  }

  createId(onEvent: ConnectionEventHandler): ConnectionId {
    return new MemoryConnectionId(this.#network, this.#device, this.#host, onEvent);
  }
}
