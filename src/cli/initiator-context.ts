import { createInitiatorContext } from '../gateway/initiator-context.js';
import type { InitiatorContext } from '../gateway/initiator-context.js';
import type { Logger } from '../observe/log.js';
import { once } from './options.js';

/** The initiator of a command that logs in once. */
export function initiatorContext(
  argv: { 'initiator-name'?: string | undefined },
  log: Logger,
): InitiatorContext {
  return createInitiatorContext({
    log,
    initiatorName: once(argv['initiator-name'], 'initiator-name') ?? undefined,
  });
}
