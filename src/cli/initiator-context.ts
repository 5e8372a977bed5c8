import { systemClock } from '../common/clock.js';
import { SlabPool } from '../common/slab.js';
import { defaultInitiatorName } from '../gateway/lun.js';
import type { InitiatorContext } from '../gateway/lun.js';
import { IserModule } from '../iser/module.js';
import type { Logger } from '../observe/log.js';
import { once } from './options.js';

/** What the one-shot commands log in with. */
export function initiatorContext(
  argv: { 'initiator-name'?: string | undefined },
  log: Logger,
): InitiatorContext {
  return {
    module: new IserModule(),
    pool: new SlabPool(),
    log,
    clock: systemClock,
    initiatorName: once(argv['initiator-name'], 'initiator-name') ?? defaultInitiatorName(),
  };
}
