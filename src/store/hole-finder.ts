import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { messageOf } from '../common/errors.js';
import { HOLE_SEARCH_MS } from './limits.js';

/**
 * Node has no lseek(2), so Perl finds data and holes (SEEK_DATA is 3, SEEK_HOLE 4) on an inherited descriptor. Every
 * Debian has Perl (perl-base is essential), but not filefrag, xfs_io or Python. The script prints one line per run of
 * data, and a last line that marks the end. ENXIO (6): no data after this position.
 */
const SCRIPT = `
use strict;
my ($end) = @ARGV;
open(my $file, '<&=', 3) or die "$!\\n";
my $at = 0;
while ($at < $end) {
  my $data = sysseek($file, $at, 3);
  if (!defined $data) {
    last if $! == 6;
    die "$!\\n";
  }
  my $hole = sysseek($file, $data + 0, 4);
  die "$!\\n" if !defined $hole;
  print $data + 0, ' ', $hole + 0, "\\n";
  $at = $hole + 0;
}
print "end\\n";
`;

/** `[start, end)` has data, or may have data. Called in order of position. */
export type DataFound = (start: number, end: number) => void;

/**
 * Finds the data of a file. All other parts are holes and read as zeroes. Resolves with null, or with the reason for
 * a failure; the results before a failure are invalid. During the search nothing may write to the file. Earlier
 * writes must be flushed, because some file systems report data only then.
 */
export function findData(
  fd: number,
  sizeBytes: number,
  found: DataFound,
  timeoutMs = HOLE_SEARCH_MS,
): Promise<string | null> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = spawn('perl', ['-e', SCRIPT, String(sizeBytes)], {
        stdio: ['ignore', 'pipe', 'pipe', fd],
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
      });
    } catch (error) {
      // Node throws when the system has no memory for another process (ENOMEM). Other failures are events.
      resolve(messageOf(error));
      return;
    }
    const runs = new RunReader(sizeBytes, found);
    let complaint = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => runs.take(text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (complaint.length < 200) complaint += text;
    });
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code) => {
      if (code === 0 && runs.isComplete) resolve(null);
      else if (code === null) resolve(`the search took longer than ${timeoutMs / 1000} s`);
      else resolve(complaint.trim() || 'the answer is not what was expected');
    });
  });
}

/** Reads the script's lines from pieces of any size, and rejects impossible lines. */
class RunReader {
  /** The last line has arrived, and all earlier lines were valid. */
  isComplete = false;
  readonly #sizeBytes: number;
  readonly #found: DataFound;
  #rest = '';
  #at = 0;
  #isBroken = false;

  constructor(sizeBytes: number, found: DataFound) {
    this.#sizeBytes = sizeBytes;
    this.#found = found;
  }

  take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#takeLine(line);
  }

  #takeLine(line: string): void {
    if (this.#isBroken) return;
    const match = /^(\d+) (\d+)$/.exec(line);
    const start = Number(match?.[1]);
    const end = Number(match?.[2]);
    if (line === 'end' && !this.isComplete) {
      this.isComplete = true;
    } else if (!this.isComplete && start >= this.#at && end > start && Number.isSafeInteger(end)) {
      this.#at = end;
      if (start < this.#sizeBytes) this.#found(start, Math.min(end, this.#sizeBytes));
    } else {
      this.#isBroken = true;
      this.isComplete = false;
    }
  }
}
