import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { selectCases } from '../../bench/cases.js';
import { OptionError, parseOptions } from '../../bench/options.js';
import { barChart } from '../../bench/plot.js';
import { resultsPage, writeReport } from '../../bench/report.js';
import type { BenchResults } from '../../bench/report.js';

/** The last run that was kept. */
function recorded(): BenchResults {
  const path = fileURLToPath(new URL('../../bench/results.json', import.meta.url));
  return JSON.parse(readFileSync(path, 'utf8')) as BenchResults;
}

describe('the report', () => {
  it('goes into pages of its own, and leaves alone what people wrote', () => {
    const root = mkdtempSync(join(tmpdir(), 'report-'));
    try {
      const prose = join(root, 'docs', 'performance.md');
      mkdirSync(join(root, 'docs'));
      mkdirSync(join(root, 'bench'));
      writeFileSync(prose, 'By hand.\n');
      const written = writeReport(recorded(), root);
      expect(written).toEqual(['bench/results.json', 'docs/performance/results.md']);
      expect(readFileSync(prose, 'utf8')).toBe('By hand.\n');
      const page = readFileSync(join(root, 'docs/performance/results.md'), 'utf8');
      const plots = [...page.matchAll(/\]\(([\w-]+\.svg)\)/g)].map((match) => match[1] ?? '');
      expect(plots).not.toEqual([]);
      for (const plot of plots) expect(existsSync(join(root, 'docs/performance', plot))).toBe(true);
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  it('has a verdict for each criterion, and a row for each contestant of each case', () => {
    const results = recorded();
    const page = resultsPage(results, []);
    for (const { what } of results.criteria) expect(page).toContain(`| ${what} |`);
    const rows = results.sessions.flatMap(({ cases }) => cases.flatMap((one) => one.rows));
    const measured = page.split('\n').filter((line) => line.endsWith(' |') && / % \|/.test(line));
    expect(measured).toHaveLength(rows.length);
  });

  it('draws bars in proportion, and leaves out those without a value', () => {
    const svg = barChart({
      title: 'a < b',
      unit: 'k',
      series: ['x', 'y'],
      groups: [
        { label: 'g', values: [10, 5] },
        { label: 'h', values: [null, 10] },
      ],
    });
    const heights = [...svg.matchAll(/width="[\d.]+" height="([\d.]+)" fill="#(?!fff)/g)]
      .map((match) => Number(match[1]))
      .filter((height) => height > 11);
    expect(heights).toHaveLength(3);
    expect((heights[0] ?? 0) / (heights[1] ?? 1)).toBeCloseTo(2);
    expect(svg).toContain('a &lt; b');
  });
});

describe('the options of the benchmark', () => {
  it('select cases by whole words of their name', () => {
    const names = selectCases(parseOptions(['--cases', 'randread-qd32-c1,1m'])).map(
      ({ name }) => name,
    );
    expect(names).toEqual(['4k-randread-qd32-c1', '1m-read-qd4-c1', '1m-write-qd4-c1']);
  });

  it('keep to the core table when quick', () => {
    expect(selectCases(parseOptions(['--quick']))).toHaveLength(6);
  });

  it('are refused with a sentence when wrong', () => {
    expect(() => parseOptions(['--rounds', 'many'])).toThrow(OptionError);
    expect(() => parseOptions(['--socket', 'pipe'])).toThrow('unix or tcp');
    expect(() => parseOptions(['--frobnicate'])).toThrow(OptionError);
  });

  it('leave everything unpinned on request', () => {
    const { serverCpus, targetCpus, clientCpus } = parseOptions(['--no-pin']);
    expect([serverCpus, targetCpus, clientCpus]).toEqual([null, null, null]);
  });
});
