/** What /proc tells about the use of the processors. */
import { readFileSync, writeFileSync } from 'node:fs';

/** Linux counts these times in hundredths of a second for user space, whatever the kernel's own tick (proc(5)). */
const TICKS_PER_SECOND = 100;

/** User and system time of a process with all its threads, those that have ended included; null when it is gone. */
export function processCpuSeconds(pid: number): number | null {
  const text = readOrNull(`/proc/${pid}/stat`);
  return text === null ? null : parseProcessCpuSeconds(text);
}

/** @param text a line of /proc/PID/stat: the name in parentheses may hold anything, so fields count from the last `)`. */
export function parseProcessCpuSeconds(text: string): number {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The process and those that it has started, as the workers of `serve`. */
export function familyOf(pid: number): readonly number[] {
  const children = readOrNull(`/proc/${pid}/task/${pid}/children`)?.trim() ?? '';
  return [pid, ...children.split(' ').filter(Boolean).map(Number)];
}

/** Time of all processors since boot, in seconds. */
export interface MachineCpu {
  readonly busy: number;
  /** Taken by the hypervisor while a process of ours wanted to run. */
  readonly steal: number;
}

export function machineCpu(): MachineCpu {
  return parseMachineCpu(readFileSync('/proc/stat', 'utf8'));
}

/**
 * Interrupt time counts as busy: a kernel without accounting of its own for it charges it to the process that it
 * interrupted, on loopback mostly the one that sends, and so it is in {@link processCpuSeconds} as well.
 */
export function parseMachineCpu(text: string): MachineCpu {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
    text.split('\n')[0] ?? ''
  )
    .replace(/^cpu +/, '')
    .split(' ')
    .map(Number);
  return {
    busy: (user + nice + system + irq + softirq) / TICKS_PER_SECOND,
    steal: steal / TICKS_PER_SECOND,
  };
}

export interface Memory {
  readonly rssMib: number;
  /** The most since {@link resetPeakMemory}. */
  readonly peakMib: number;
}

export function processMemory(pid: number): Memory | null {
  const text = readOrNull(`/proc/${pid}/status`);
  if (text === null) return null;
  const mib = (name: string) =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) / 1024;
  return { rssMib: mib('VmRSS'), peakMib: mib('VmHWM') };
}

/** Best effort: without the right to it the peak is that since the process started. */
export function resetPeakMemory(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Not permitted, or the process has just ended, which its use will tell.
  }
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
