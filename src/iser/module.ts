import { availableParallelism } from 'node:os';
import { assert } from '../common/assert.js';
import type { RdmaDevice } from '../transport/verbs.js';
import type { RegistrationScheme } from './device.js';
import { IserDevice } from './device.js';

export interface IserModuleOptions {
  /** The registration scheme. Default: `auto`. */
  readonly registration?: RegistrationScheme;
  /** For tests. */
  readonly onlineCpus?: number;
}

/** What {@link IserModule} needs from a connection. */
export interface ModuleConnection {
  readonly device: IserDevice;
  /** Resolves when every resource of the connection is released. */
  terminate(): Promise<void>;
}

/** `iser_global`: the devices and connections of the process. One per process; tests make their own. */
export class IserModule {
  /** By node GUID. */
  readonly #devices = new Map<string, IserDevice>();
  readonly #connections = new Set<ModuleConnection>();
  readonly #registration: RegistrationScheme;
  readonly #onlineCpus: number;

  constructor(options: IserModuleOptions = {}) {
    this.#registration = options.registration ?? 'auto';
    this.#onlineCpus = options.onlineCpus ?? availableParallelism();
  }

  get deviceCount(): number {
    return this.#devices.size;
  }

  get connections(): ReadonlySet<ModuleConnection> {
    return this.#connections;
  }

  /**
   * The device with the GUID of `rdmaDevice`. The first use sets it up (`iser_device_find_by_ib_device`). The caller
   * owns a reference.
   * @throws VerbsError when the device cannot be set up
   */
  acquireDevice(rdmaDevice: RdmaDevice): IserDevice {
    const guid = rdmaDevice.attributes.nodeGuid;
    let device = this.#devices.get(guid);
    if (device === undefined) {
      device = new IserDevice(rdmaDevice, {
        onlineCpus: this.#onlineCpus,
        registration: this.#registration,
      });
      this.#devices.set(guid, device);
    }
    device.referenceCount++;
    return device;
  }

  /** Returns a reference. The last reference frees the device (`iser_device_try_release`). */
  releaseDevice(device: IserDevice): void {
    assert(device.referenceCount > 0, 'iSER device released too often');
    device.referenceCount--;
    if (device.referenceCount > 0) return;
    this.#devices.delete(device.rdmaDevice.attributes.nodeGuid);
    device.free();
  }

  addConnection(connection: ModuleConnection): void {
    this.#connections.add(connection);
  }

  removeConnection(connection: ModuleConnection): void {
    this.#connections.delete(connection);
  }

  /** Ends every connection. Resolves when all have ended. */
  async terminateAll(): Promise<void> {
    await Promise.all([...this.#connections].map((connection) => connection.terminate()));
  }
}
