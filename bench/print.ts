/** Tables for a terminal. */
import { titleOf } from './cases.js';
import type { Criterion } from './criteria.js';
import type { CaseResult, Row } from './summary.js';

const COLUMNS = ['IOPS', 'MB/s', 'mean', 'p99', 'CPU µs/IO', 'RSS MiB', 'fio', 'ratios'] as const;
const WIDTHS = [9, 8, 9, 9, 24, 20, 5, 0];

export function printCase({ load, rows }: CaseResult): void {
  const noisy = rows.some(({ isNoisy }) => isNoisy) ? '   NOISY' : '';
  const head = COLUMNS.map((name, index) => pad(name, WIDTHS[index] ?? 0)).join(' ');
  console.log(`\n${`${titleOf(load)}${noisy}`.padEnd(28)} ${head}`);
  for (const row of rows) {
    const cells = cellsOf(row).map((text, index) => pad(text, WIDTHS[index] ?? 0));
    console.log(`  ${row.contestant.padEnd(26)} ${cells.join(' ')}`);
  }
}

export function printCriteria(criteria: readonly Criterion[]): void {
  const width = Math.max(...criteria.map(({ what }) => what.length));
  console.log('');
  for (const { what, required, measured, isMet, isNoisy } of criteria) {
    if (isMet === null) continue;
    const verdict = isMet ? 'met' : 'MISSED';
    console.log(
      `${verdict.padEnd(7)} ${what.padEnd(width)}  ${required.padEnd(10)} ${measured}${isNoisy ? '  (noisy)' : ''}`,
    );
  }
}

export function formatMicros(us: number): string {
  if (us >= 10_000) return `${(us / 1000).toFixed(0)} ms`;
  if (us >= 1000) return `${(us / 1000).toFixed(1)} ms`;
  return `${us.toFixed(us < 10 ? 1 : 0)} µs`;
}

export function formatCount(value: number): string {
  return value >= 10_000 ? `${(value / 1000).toFixed(0)}k` : value.toFixed(0);
}

/** `12.3 = serve 7.1 + target 5.2`; the total alone for one process. */
export function formatParts(parts: Readonly<Record<string, number>>, digits: number): string {
  const values = Object.values(parts);
  if (values.length === 1) return values[0]?.toFixed(digits) ?? '';
  return Object.entries(parts)
    .map(([role, value]) => `${role} ${value.toFixed(digits)}`)
    .join(' + ');
}

function cellsOf({ value, ratios }: Row): string[] {
  return [
    formatCount(value.iops),
    (value.bytesPerSecond / 1e6).toFixed(0),
    formatMicros(value.meanUs),
    formatMicros(value.p99Us),
    formatParts(value.cpuUsPerIo, 1),
    formatParts(value.peakMib, 0),
    value.clientCores.toFixed(2),
    Object.entries(ratios)
      .map(([peer, { median, low, high }]) => {
        return `÷${peer} ${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
      })
      .join('  '),
  ];
}

function pad(text: string, width: number): string {
  return width === 0 ? text : text.padStart(width);
}
