import { writeFileSync } from 'node:fs';
import type { BenchOptions } from '../options.js';
import { measureChains } from './chain.js';
import { codecBenchmarks } from './codecs.js';
import { fpduBenchmarks } from './fpdus.js';
import { measure, sinkValue } from './loop.js';
import { memoryBenchmarks } from './memory.js';

const SLICES_PER_ROUND = 5;

/** @returns the exit status. */
export async function runMicrobenchmarks(options: BenchOptions, program: string): Promise<number> {
  const { cases, json, baseline, rounds } = options;
  const isSelected = (name: string) => cases?.some((part) => name.includes(part)) ?? true;
  const all = [...codecBenchmarks(), ...fpduBenchmarks(), ...memoryBenchmarks()];
  const selected = all.filter(({ name }) => isSelected(name));
  const width = 52;
  const print = (name: string, ...cells: string[]) =>
    console.log([name.padEnd(width), ...cells.map((cell) => cell.padStart(9))].join(' '));
  if (selected.length > 0) print('', 'ns', 'GB/s', 'heap B');
  const results: object[] = selected.map((micro) => {
    const result = measure(micro);
    const { name, nanoseconds, gigabytesPerSecond, garbageBytes } = result;
    const heap = garbageBytes?.toFixed(0) ?? '';
    print(name, formatNs(nanoseconds), gigabytesPerSecond?.toFixed(2) ?? '', heap);
    return result;
  });
  const isChain = cases === null || cases.some((part) => part.startsWith('chain'));
  if (isChain) {
    print('', 'CPU ns', 'least');
    const builds = { program, ...(baseline === null ? {} : { baseline }) };
    await measureChains(builds, rounds * SLICES_PER_ROUND, isSelected, (result) => {
      print(result.name, formatNs(result.medianNs), formatNs(result.leastNs));
      results.push(result);
    });
  }
  if (json !== null) writeFileSync(json, `${JSON.stringify(results, null, 1)}\n`);
  return Number.isNaN(sinkValue()) ? 1 : 0;
}

function formatNs(ns: number): string {
  return ns.toFixed(ns < 100 ? 1 : 0);
}
