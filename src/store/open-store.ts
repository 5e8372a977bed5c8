import { ConfigError } from '../common/errors.js';
import { silentLogger } from '../observe/log.js';
import type { Logger } from '../observe/log.js';
import { FileStore } from './file-store.js';
import type { LunSpec } from './lun-spec.js';
import { MemoryStore } from './memory-store.js';
import type { Store } from './store.js';

/** The options of a store, apart from its kind and size. */
export interface OpenStoreOptions {
  /** 512 or 4096. Default: 512. */
  readonly blockBytes?: number;
  readonly readOnly?: boolean;
  readonly log?: Logger;
}

/**
 * Opens the store of a LUN's specification.
 * @throws ConfigError when the store cannot be opened as specified
 */
export async function openStore(
  spec: LunSpec,
  { blockBytes = 512, readOnly = false, log = silentLogger }: OpenStoreOptions = {},
): Promise<Store> {
  if (blockBytes !== 512 && blockBytes !== 4096) {
    throw new ConfigError('lun', `a block cannot have ${blockBytes} bytes; use 512 or 4096`);
  }
  if (spec.kind === 'file') return FileStore.open({ ...spec, blockBytes, readOnly }, log);
  if (spec.sizeBytes % blockBytes !== 0) {
    throw new ConfigError('lun', `a LUN of ${spec.sizeBytes} bytes has no whole number of blocks`);
  }
  return new MemoryStore({ sizeBytes: spec.sizeBytes, blockBytes, readOnly });
}
