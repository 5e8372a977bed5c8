import { describe, expect, it } from 'vitest';
import { describeTargets } from '../../src/cli/describe-targets.js';

const portal = { host: '192.0.2.1', port: 3260, portalGroupTag: 1 };

describe('what discovery has found', () => {
  it('is a target per line, with its portals below', () => {
    const portals = [portal, { host: 'fe80::1%eth0', port: 3261, portalGroupTag: null }];
    expect(describeTargets([{ name: 'iqn.2026-11.io.example:a', portals }])).toBe(
      'iqn.2026-11.io.example:a\n  192.0.2.1:3260,1\n  [fe80::1%eth0]:3261\n',
    );
    expect(describeTargets([])).toMatch(/no targets/);
  });

  it('gives no orders to a terminal', () => {
    const name = 'iqn.x\u001b]0;pwn\u0007\u001b[2J\u202egnp.exe';
    const text = describeTargets([{ name, portals: [{ ...portal, host: 'a\u009b1m' }] }]);
    expect(text).toBe('iqn.x\\x1b]0;pwn\\x07\\x1b[2J\\u202egnp.exe\n  a\\x9b1m:3260,1\n');
  });
});
