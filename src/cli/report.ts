import { printable } from '../common/printable.js';

export type ReportValue = string | number | boolean | readonly string[] | Report;

/** Named facts in sections. */
export interface Report {
  readonly [name: string]: ReportValue;
}

/** A report for people: a heading per section, a line per fact. Sizes have a larger unit after the bytes. */
export function formatReport(report: Report): string {
  return Object.entries(report)
    .map(([heading, value]) => `${words(heading)}\n${formatSection(value)}`)
    .join('\n\n');
}

/** `268435456 bytes (256 MiB)`, `1500 bytes (about 1.5 KiB)`, or below 1024 the bytes alone. */
export function formatBytes(bytes: number): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = '';
  for (const next of units) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  if (unit === '') return `${bytes} bytes`;
  const rounded = Number.isInteger(value) ? String(value) : `about ${value.toFixed(1)}`;
  return `${bytes} bytes (${rounded} ${unit})`;
}

function formatSection(value: ReportValue): string {
  if (!isReport(value)) return `  ${printable(String(value))}`;
  const facts = flatten(value);
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`.trimEnd()).join('\n');
}

function flatten(report: Report): [string, string][] {
  return Object.entries(report).flatMap(([name, value]): [string, string][] => {
    if (isReport(value)) {
      return Object.entries(value).map(([key, text]) => [printable(key), formatValue(key, text)]);
    }
    if (!Array.isArray(value))
      return [[words(name.replace(/Bytes/, '')), formatValue(name, value)]];
    const lines = value as readonly string[];
    return lines.map((text, index) => [index === 0 ? words(name) : '', printable(text)]);
  });
}

function formatValue(name: string, value: ReportValue): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'number' && /Bytes|Length/.test(name)) return formatBytes(value);
  return printable(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

function isReport(value: ReportValue): value is Report {
  return typeof value === 'object' && !Array.isArray(value);
}

/** The words of a name: `writeSameMax` becomes `write same max`. */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).trim();
}
