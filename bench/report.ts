/** bench/results.json, and docs/performance/results.md with its plots. What people write is in docs/performance.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_POLL_US } from '../src/gateway/config.js';
import { titleOf } from './cases.js';
import { plotsOf } from './report-plots.js';
import type { Criterion } from './criteria.js';
import type { Environment } from './environment.js';
import type { BenchOptions } from './options.js';
import { formatCount, formatMicros, formatParts } from './print.js';
import type { SessionResult } from './session.js';
import type { CaseResult, Row } from './summary.js';

export interface BenchResults {
  readonly environment: Environment;
  readonly options: BenchOptions;
  readonly minutes: number;
  readonly contestants: readonly ContestantName[];
  readonly sessions: readonly SessionResult[];
  readonly criteria: readonly Criterion[];
}

export interface ContestantName {
  readonly name: string;
  readonly title: string;
  readonly isOurs: boolean;
}

const HEAD = `# Results of the benchmark

\`npm run bench\` writes this page: do not edit it. [performance.md](../performance.md) says what is compared and how, and
what to make of the figures.`;

/** @returns the files that were written, relative to the root, which a formatter should see. */
export function writeReport(results: BenchResults, root: string): readonly string[] {
  const folder = join('docs', 'performance');
  mkdirSync(join(root, folder), { recursive: true });
  const plots = plotsOf(results);
  for (const { file, svg } of plots) writeFileSync(join(root, folder, file), svg);
  const json = join('bench', 'results.json');
  writeFileSync(join(root, json), `${JSON.stringify(results, null, 1)}\n`);
  const page = join(folder, 'results.md');
  writeFileSync(join(root, page), resultsPage(results, plots));
  return [json, page];
}

/** The whole page; its plots stand beside it. */
export function resultsPage(
  results: BenchResults,
  plots: readonly { readonly file: string; readonly title: string }[],
): string {
  const { environment, options, criteria, sessions, minutes } = results;
  const facts = [
    `${environment.date} UTC, commit ${environment.commit}. ${environment.machine}, ${environment.kernel}; ${environment.programs.join(', ')}.`,
    `${environment.pinning}. ${options.rounds} rounds of ${options.seconds} s per case and contestant, ${options.lunMib} MiB per LUN, ${minutes.toFixed(0)} minutes in all.`,
    extraArguments(options),
  ];
  const measured = criteria.filter(({ isMet }) => isMet !== null);
  const parts = [
    HEAD,
    facts.filter((line) => line !== '').join('\n'),
    noise(results),
    '## What is required, and what was measured',
    table(
      ['', 'required', 'measured', ''],
      measured.map(({ what, required, measured: value, isMet, isNoisy }) => {
        const verdict = isMet === true ? 'met' : '**missed**';
        return [what, required, value, isNoisy ? `${verdict}, noisy` : verdict];
      }),
    ),
    ...plots.map(({ file, title }) => `![${title}](${file})`),
    ...sessions.flatMap((session) => sessionPart(session)),
  ];
  return `${parts.join('\n\n')}\n`;
}

function extraArguments({ serveArgs, targetArgs, nodeArgs }: BenchOptions): string {
  const given: [string, readonly string[]][] = [
    ['serve', serveArgs],
    ['target', targetArgs],
    ['node', nodeArgs],
  ];
  const texts = given
    .filter(([, args]) => args.length > 0)
    .map(([name, args]) => `\`${name} ${args.join(' ')}\``);
  const polling = `\`serve --poll-us ${DEFAULT_POLL_US}\`, targets without polling`;
  return texts.length === 0
    ? `Our programs ran with their defaults: ${polling}.`
    : `Our programs ran with ${texts.join(', ')}; otherwise with their defaults (${polling}).`;
}

function noise({ sessions, options }: BenchResults): string {
  const cases = sessions.flatMap(({ cases: all }) => all);
  const noisy = cases.filter(({ rows }) => rows.some(({ isNoisy }) => isNoisy)).length;
  if (noisy === 0) {
    return `In every round that counts, all other processes together used less than ${options.noisePercent} % of one core.`;
  }
  return (
    `**Not to be trusted as they stand:** in ${noisy} of ${cases.length} cases, marked as noisy, other processes or the ` +
    `hypervisor used more than ${options.noisePercent} % of one core${options.retries > 0 ? ' although the rounds were repeated' : ''}.`
  );
}

function sessionPart({ socket, verified, cases }: SessionResult): string[] {
  const checked = Object.entries(verified).map(
    ([name, why]) => `${name} ${why === null ? 'passed' : `FAILED: ${why}`}`,
  );
  return [
    `## NBD over ${socket === 'unix' ? 'a Unix socket' : 'TCP on loopback'}`,
    `fio --verify before the measurements: ${checked.join(', ') || 'no contestant of ours'}.`,
    ...cases.flatMap((result) => casePart(result)),
  ];
}

function casePart({ load, rows, failures }: CaseResult): string[] {
  const noisy = rows.some(({ isNoisy }) => isNoisy) ? ' (noisy)' : '';
  return [
    `**${titleOf(load)}**${noisy}`,
    table(
      ['', 'IOPS', 'MB/s', 'mean', 'p99', 'CPU µs per I/O', 'peak RSS, MiB', 'fio busy', 'ratios'],
      rows.map(rowCells),
    ),
    ...Object.entries(failures).map(([name, why]) => `${name} failed: ${why}`),
  ];
}

function rowCells({ contestant, value, ratios }: Row): string[] {
  return [
    contestant,
    formatCount(value.iops),
    (value.bytesPerSecond / 1e6).toFixed(0),
    formatMicros(value.meanUs),
    formatMicros(value.p99Us),
    formatParts(value.cpuUsPerIo, 1),
    formatParts(value.peakMib, 0),
    `${(value.clientCores * 100).toFixed(0)} %`,
    Object.entries(ratios)
      .map(([peer, { median }]) => `${median.toFixed(2)} × ${peer}`)
      .join(', '),
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
