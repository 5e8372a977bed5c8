import { pino } from 'pino';
import type { Logger as PinoLogger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { InvariantError } from '../common/assert.js';
import { IserNbdError } from '../common/errors.js';
import { escapeJson, escapeJsonTwice } from '../common/printable.js';
import { LineLimit } from './line-limit.js';
import { Priority, isErrorTerminal, writeError } from './standard-streams.js';

/** The logger of every layer. Child loggers carry facts such as `conn`, `export` and `session`. */
export type Logger = PinoLogger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** pino's numbers of levels. */
const INFO = 30;
const WARN = 40;
const ERROR = 50;
const FATAL = 60;

/** How long lines are left out before the log says how many. */
const LEFT_OUT_PERIOD_MS = 10_000;

/** Writes a finished line. */
export type LogOutput = (text: string, priority: Priority) => void;

/** Where the lines go, and the clock of their limit; for tests. */
export interface LogPlace {
  readonly output?: LogOutput;
  readonly nowMs?: () => number;
}

/**
 * The process's logger, on standard error: lines for people on a terminal, JSON lines otherwise. `facts` are on every
 * line. The logger neither waits nor fails. From `info` on, {@link LineLimit} bounds messages that repeat; the number of
 * lines left out is logged.
 */
export function createLogger(
  level: LogLevel,
  facts: Readonly<Record<string, string | number>> = {},
  { output = writeError, nowMs = () => performance.now() }: LogPlace = {},
): Logger {
  const limit = new LineLimit(nowMs);
  let reporting: NodeJS.Timeout | null = null;
  const report = (): void => {
    reporting = null;
    for (const { message, lines } of limit.takeLeftOut()) {
      unlimited.warn({ lines, like: message }, 'left out more log lines with the same message');
    }
  };
  const destination = {
    // With this symbol, pino sets `lastLevel` before each write.
    [Symbol.for('pino.metadata')]: true,
    lastLevel: INFO,
    write(line: string): void {
      output(isErrorTerminal ? pretty(line) : line, priorityOf(this.lastLevel));
    },
  };
  const common = {
    level,
    base: isErrorTerminal ? { ...facts } : { pid: process.pid, ...facts },
    serializers: { err: describeError, error: describeError },
  };
  // Lines contain names from peers, and people look at them on a terminal sooner or later.
  const streamWrite = isErrorTerminal ? escapeJsonTwice : escapeJson;
  const unlimited = pino({ ...common, hooks: { streamWrite } }, destination);
  const hooks: pino.LoggerOptions['hooks'] = {
    streamWrite,
    logMethod(args, method, line) {
      if (line < INFO || limit.admits(messageIn(args), line >= ERROR)) {
        method.apply(this, args);
        return;
      }
      reporting ??= setTimeout(report, LEFT_OUT_PERIOD_MS).unref();
    },
  };
  process.once('exit', report);
  return pino({ ...common, hooks }, destination);
}

/** For callers that want no log, and for tests. */
export const silentLogger: Logger = pino({ level: 'silent' });

/** The message of a log call: the first argument, or the one after the facts. */
function messageIn(args: readonly unknown[]): string {
  const words = args.find((arg) => typeof arg === 'string');
  return typeof words === 'string' ? words : '';
}

function priorityOf(level: number): Priority {
  if (level >= FATAL) return Priority.critical;
  if (level >= ERROR) return Priority.error;
  if (level >= WARN) return Priority.warning;
  return level >= INFO ? Priority.info : Priority.debug;
}

/** Only bugs of ours get a stack. Errors that peers, disks and users can cause get their code and message. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!isExpected(error)) return pino.stdSerializers.err(error);
  const { name: type, message } = error;
  const cause = error.cause instanceof Error ? { cause: error.cause.message } : {};
  return { type, code: (error as NodeJS.ErrnoException).code, message, ...cause };
}

/** An error of ours for people, or an error of the system, which has a code. */
export function isExpected(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof InvariantError) return false;
  if (error instanceof IserNbdError) return true;
  const { code, syscall } = error as NodeJS.ErrnoException;
  return code !== undefined && (syscall !== undefined || /^E[A-Z0-9]+$/.test(code));
}

const pretty = (line: string): string => prettyLine(line) ?? line;

const prettyLine = prettyFactory({
  colorize: isErrorTerminal && (process.env['NO_COLOR'] ?? '') === '',
  singleLine: true,
  ignore: 'pid,hostname',
  translateTime: 'SYS:HH:MM:ss.l',
}) as (line: string) => string | undefined;
