import { describe, expect, it } from 'vitest';
import { formatReport } from '../../src/cli/report.js';

describe('a report for people', () => {
  it('has a heading per section, and sizes in words', () => {
    expect(formatReport({ capacity: { sizeBytes: 1048576, thin: true } })).toBe(
      'capacity\n  size  1048576 bytes (1 MiB)\n  thin  yes',
    );
  });

  it('gives no orders to a terminal, whatever a target is called', () => {
    const evil = 'a\u001b[2J\nb\u202e';
    const text = formatReport({
      identity: { serial: evil, designators: [evil, evil] },
      session: { keys: { TargetAlias: evil } },
      note: evil,
    });
    expect(text).not.toMatch(/[\u001b\u202e]/);
    expect(text.match(/a\\x1b\[2J\\x0ab\\u202e/g)).toHaveLength(5);
  });
});
