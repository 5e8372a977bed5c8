import { describe, expect, it } from 'vitest';
import { selectCases } from '../../bench/cases.js';
import { OptionError, parseOptions } from '../../bench/options.js';
import { barChart } from '../../bench/plot.js';
import { replaceGenerated } from '../../bench/report.js';

describe('the report', () => {
  it('replaces what was generated before, and keeps what people wrote around it', () => {
    const first = replaceGenerated('# Performance\n\nBy hand.\n', 'one');
    const second = replaceGenerated(`${first}\nMore by hand.\n`, 'two');
    expect(second).toContain('By hand.');
    expect(second).toContain('More by hand.');
    expect(second).toContain('two');
    expect(second).not.toContain('one');
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
