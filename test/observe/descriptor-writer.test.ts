import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DescriptorWriter } from '../../src/observe/descriptor-writer.js';

const { O_RDONLY, O_NONBLOCK } = constants;
const PIPE_BYTES = 64 * 1024;
const LINE = `${'x'.repeat(1023)}\n`;

let folder = '';
let fds: number[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iser-nbd-writer-'));
  spawnSync('mkfifo', [join(folder, 'pipe')]);
  fds = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
  for (const fd of fds) closeSync(fd);
  rmSync(folder, { recursive: true });
});

function open(flags: number | string): number {
  const fd = openSync(join(folder, 'pipe'), flags);
  fds.push(fd);
  return fd;
}

function shut(fd: number): void {
  closeSync(fd);
  fds = fds.filter((other) => other !== fd);
}

/** All that the pipe holds now. */
function readAll(fd: number): string {
  const bytes = Buffer.alloc(PIPE_BYTES);
  let text = '';
  for (;;) {
    try {
      const count = readSync(fd, bytes);
      if (count === 0) return text;
      text += bytes.toString('latin1', 0, count);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return text;
      throw error;
    }
  }
}

const notice = (lines: number, reason: string): string => `lost ${lines}: ${reason}\n`;
const flagsOf = (fd: number): string =>
  /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '';

describe('a writer to a shared descriptor', () => {
  it('keeps what a full pipe does not take, drops the rest, and says how much', () => {
    const reader = open(O_RDONLY | O_NONBLOCK);
    const fd = open('w');
    const before = flagsOf(fd);
    const writer = new DescriptorWriter(fd, notice);
    for (let line = 0; line < 1000; line++) writer.write(LINE);
    expect(flagsOf(fd)).toBe(before);
    let text = readAll(reader);
    expect(text).toHaveLength(PIPE_BYTES);
    for (let round = 0; round < 10; round++) {
      vi.advanceTimersByTime(100);
      text += readAll(reader);
    }
    const lines = text.trimEnd().split('\n');
    const kept = lines.filter((line) => line === LINE.trimEnd()).length;
    expect(lines.at(-1)).toBe(`lost ${1000 - kept}: the reader is too slow`);
    expect(lines).toHaveLength(kept + 1);
    expect(kept).toBe(64 + 256);
  });

  it('counts what nobody reads, and says so to the next reader', () => {
    const reader = open(O_RDONLY | O_NONBLOCK);
    const writer = new DescriptorWriter(open('w'), notice);
    writer.write('one\n');
    expect(readAll(reader)).toBe('one\n');
    shut(reader);
    writer.write('two\n');
    writer.write('three\nfour\n');
    const next = open(O_RDONLY | O_NONBLOCK);
    writer.write('five\n');
    expect(readAll(next)).toBe('five\nlost 3: the reader has gone\n');
    writer.write('six\n');
    expect(readAll(next)).toBe('six\n');
  });

  it('says so in a little while, also when there is nothing else to say', () => {
    const reader = open(O_RDONLY | O_NONBLOCK);
    const writer = new DescriptorWriter(open('w'), notice);
    shut(reader);
    writer.write('one\n');
    vi.advanceTimersByTime(60_000);
    const next = open(O_RDONLY | O_NONBLOCK);
    vi.advanceTimersByTime(10_000);
    expect(readAll(next)).toBe('lost 1: the reader has gone\n');
  });

  it('begins a new line behind one that was cut off', () => {
    const reader = open(O_RDONLY | O_NONBLOCK);
    const fd = open('w');
    const writer = new DescriptorWriter(fd, notice);
    writeSync(fd, Buffer.alloc(PIPE_BYTES - 4096, 'y'));
    writer.write(`${'z'.repeat(8000)}\n`);
    shut(reader);
    vi.advanceTimersByTime(100);
    const next = open(O_RDONLY | O_NONBLOCK);
    writer.write('next\n');
    expect(readAll(next)).toMatch(/^y*z+$/);
    vi.advanceTimersByTime(100);
    expect(readAll(next)).toBe('\nnext\nlost 1: the reader has gone\n');
  });

  it('never fails on a disk that is full', () => {
    const fd = openSync('/dev/full', 'w');
    fds.push(fd);
    const writer = new DescriptorWriter(fd, notice);
    for (let line = 0; line < 10; line++) writer.write(LINE);
    vi.advanceTimersByTime(60_000);
    expect(writer.finish()).toBe(true);
  });

  it('writes what waits at the end of the process, and waits for no reader then', () => {
    const reader = open(O_RDONLY | O_NONBLOCK);
    const fd = open('w');
    const writer = new DescriptorWriter(fd, notice);
    for (let line = 0; line < 100; line++) writer.write(LINE);
    expect(writer.finish()).toBe(true);
    readAll(reader);
    writer.write('late\n');
    expect(readAll(reader).endsWith(`${LINE}late\n`)).toBe(true);
  });
});
