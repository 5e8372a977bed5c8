import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { DescriptorWriter } from './descriptor-writer.js';
import type { LossNotice } from './descriptor-writer.js';

const STANDARD_OUTPUT = 1;
const STANDARD_ERROR = 2;
/** How long a process that has nothing else to do waits for whoever reads its log. */
const SETTLE_MS = 1000;

/** syslog(3)'s priorities, as far as they are used. */
export const Priority = { critical: 2, error: 3, warning: 4, info: 6, debug: 7 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

/** Lines for people rather than for programs. */
export const isErrorTerminal = isatty(STANDARD_ERROR);

/** Standard error is systemd's journal: then a priority before each line is not shown, but kept (sd-daemon(3)). */
const isJournal = isJournalStream(process.env['JOURNAL_STREAM']);

const writers = new Map<number, DescriptorWriter>();

/** All that this process has to say on standard error goes by here: log lines, and complaints. Never waits. */
export function writeError(text: string, priority: Priority): void {
  const prefixed = isJournal ? text.replace(/^(?=.)/gm, `<${priority}>`) : text;
  writerFor(STANDARD_ERROR, lossNotice).write(prefixed);
}

/** The same on standard output, for what need not be read by anybody. */
export function writeOutput(text: string): void {
  writerFor(STANDARD_OUTPUT, () => '').write(text);
}

/**
 * For when there is nothing left to do: gives the readers of both a second, and then ends the process without them. Until
 * then a thread that hangs in a write would keep it.
 */
export async function settleStreams(): Promise<void> {
  await Promise.all(Array.from(writers.values(), (writer) => writer.drain(SETTLE_MS)));
  if (Array.from(writers.values()).some(({ isStalled }) => isStalled)) process.exit();
}

function writerFor(fd: number, notice: LossNotice): DescriptorWriter {
  const known = writers.get(fd);
  if (known !== undefined) return known;
  const opened = new DescriptorWriter(fd, notice);
  writers.set(fd, opened);
  process.on('exit', () => {
    if (opened.finish()) return;
    // An ordinary exit waits for all threads, and one of them hangs in a write. The system ends the process for a signal
    // whatever its threads do; a service manager takes this one for an orderly end.
    process.removeAllListeners('SIGTERM');
    process.kill(process.pid, 'SIGTERM');
  });
  return opened;
}

function lossNotice(lines: number, reason: string): string {
  const msg = 'log lines were lost';
  const facts = { level: 40, time: Date.now(), pid: process.pid, lines, reason, msg };
  const text = isErrorTerminal
    ? `iser-nbd: ${lines} ${msg}: ${reason}\n`
    : `${JSON.stringify(facts)}\n`;
  return isJournal ? `<${Priority.warning}>${text}` : text;
}

/** The variable names the device and inode of the stream that was connected to the journal (systemd.exec(5)). */
function isJournalStream(variable: string | undefined): boolean {
  if (variable === undefined) return false;
  try {
    const { dev, ino } = fstatSync(STANDARD_ERROR, { bigint: true });
    return variable === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
