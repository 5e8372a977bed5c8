import { pino } from 'pino';
import type { Logger as PinoLogger } from 'pino';
import { PinoPretty } from 'pino-pretty';
import { escapeJson, escapeJsonTwice } from '../common/printable.js';

/** What every layer logs through; children carry `conn`, `export`, `session` and the like. */
export type Logger = PinoLogger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * The process's logger, on standard error: for people on a terminal, JSON lines otherwise. `facts` are on every line.
 */
export function createLogger(
  level: LogLevel,
  facts: Readonly<Record<string, string | number>> = {},
): Logger {
  const isTerminal = process.stderr.isTTY;
  const stream = isTerminal
    ? PinoPretty({
        destination: 2,
        sync: true,
        singleLine: true,
        ignore: 'pid,hostname',
        translateTime: 'SYS:HH:MM:ss.l',
      })
    : pino.destination({ dest: 2, sync: true });
  return pino(
    {
      level,
      base: isTerminal ? { ...facts } : { pid: process.pid, ...facts },
      // Lines have names from peers in them, and end on a terminal sooner or later.
      hooks: { streamWrite: isTerminal ? escapeJsonTwice : escapeJson },
    },
    stream,
  );
}

/** For callers that do not care, and tests. */
export const silentLogger: Logger = pino({ level: 'silent' });
