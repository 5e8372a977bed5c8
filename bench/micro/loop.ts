/** Times a function of a few nanoseconds: many calls per reading of the clock, the median of several readings. */

export interface Micro {
  /** `crc/4 KiB`: the group comes first. */
  readonly name: string;
  /** Bytes that one call goes through, for a rate. */
  readonly bytes?: number;
  /** Units of work in one call, when it is a batch. */
  readonly perCall?: number;
  /** Returns something that depends on the work, so that the compiler cannot leave it out. */
  readonly run: (index: number) => number;
}

export interface MicroResult {
  readonly name: string;
  readonly nanoseconds: number;
  readonly gigabytesPerSecond: number | null;
  /** Of heap memory per unit; null when the collector cannot be asked. */
  readonly garbageBytes: number | null;
}

const READINGS = 15;
const READING_MS = 20;

/** Where results of the work end. */
let sink = 0;

export function measure({ name, bytes, perCall = 1, run }: Micro): MicroResult {
  let calls = 16;
  // Long enough to be compiled, and then to find how many calls make a reading.
  while (timeMs(run, calls) < READING_MS) calls *= 2;
  const readings = Array.from({ length: READINGS }, () => timeMs(run, calls)).sort((a, b) => a - b);
  const ms = readings[READINGS >> 1] ?? NaN;
  return {
    name,
    nanoseconds: (ms * 1e6) / calls / perCall,
    gigabytesPerSecond: bytes === undefined ? null : (bytes * calls) / (ms * 1e6),
    garbageBytes: garbage(run, calls, perCall),
  };
}

function timeMs(run: (index: number) => number, calls: number): number {
  const start = performance.now();
  let sum = 0;
  for (let index = 0; index < calls; index++) sum += run(index);
  sink += sum;
  return performance.now() - start;
}

/** A number of calls small enough that no collection falls in between. */
function garbage(run: (index: number) => number, calls: number, perCall: number): number | null {
  if (globalThis.gc === undefined) return null;
  const count = Math.min(calls, Math.ceil(4000 / perCall));
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  timeMs(run, count);
  const bytes = (process.memoryUsage().heapUsed - before) / count / perCall;
  // The measurement itself takes a few hundred bytes, and heap numbers.
  return bytes < 4 ? 0 : bytes;
}

/** Keeps the sum of all results alive. */
export function sinkValue(): number {
  return sink;
}
