import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { DescriptorWriter } from './descriptor-writer.js';
import type { LossNotice } from './descriptor-writer.js';

const STANDARD_OUTPUT = 1;
const STANDARD_ERROR = 2;
/** How long a process that has nothing else to do waits for the reader of its log. */
const SETTLE_MS = 1000;

/** The priorities of syslog(3) that this program uses. */
export const Priority = { critical: 2, error: 3, warning: 4, info: 6, debug: 7 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

/** A terminal gets lines for people rather than for programs. */
export const isErrorTerminal = isatty(STANDARD_ERROR);

/** Standard error is systemd's journal, which reads a priority before each line and does not show it (sd-daemon(3)). */
const isJournal = isJournalStream(process.env['JOURNAL_STREAM']);

const writers = new Map<number, DescriptorWriter>();

/** Everything that this process writes on standard error: log lines and complaints. Never waits. */
export function writeError(text: string, priority: Priority): void {
  const prefixed = isJournal ? text.replace(/^(?=.)/gm, `<${priority}>`) : text;
  writerFor(STANDARD_ERROR, lossNotice).write(prefixed);
}

/** Writes on standard output, and never waits: for text that the program does not depend on. */
export function writeOutput(text: string): void {
  writerFor(STANDARD_OUTPUT, () => '').write(text);
}

/**
 * For a process that has nothing left to do: gives the readers of both streams a second. When a thread still hangs in a
 * write, ends the process, which would not end by itself.
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
    // An ordinary exit waits for all threads, and one of them hangs in a write. A signal ends the process whatever its
    // threads do. A service manager takes SIGTERM for an orderly end.
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
