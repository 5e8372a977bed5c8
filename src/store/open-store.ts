import { ConfigError } from '../common/errors.js';
import { silentLogger } from '../observe/log.js';
import type { Logger } from '../observe/log.js';
import { FileStore } from './file-store.js';
import type { LunSpec } from './lun-spec.js';
import { MemoryStore } from './memory-store.js';
import type { Store } from './store.js';

/** How to open a store, beyond what and how large. */
export interface OpenStoreOptions {
  /** 512 or 4096; 512 when left out. */
  readonly blockBytes?: number;
  readonly readOnly?: boolean;
  readonly log?: Logger;
}

/** Opens the store that a LUN's specification names. @throws ConfigError when it cannot be opened as asked for */
export async function openStore(
  spec: LunSpec,
  { blockBytes = 512, readOnly = false, log = silentLogger }: OpenStoreOptions = {},
): Promise<Store> {
  if (blockBytes !== 512 && blockBytes !== 4096) {
    throw new ConfigError(
      'lun',
      `a block of ${blockBytes} bytes is not possible; 512 and 4096 are`,
    );
  }
  if (spec.kind === 'file') return FileStore.open({ ...spec, blockBytes, readOnly }, log);
  if (spec.sizeBytes % blockBytes !== 0) {
    throw new ConfigError('lun', `a LUN of ${spec.sizeBytes} bytes has no whole number of blocks`);
  }
  return new MemoryStore({ sizeBytes: spec.sizeBytes, blockBytes, readOnly });
}
