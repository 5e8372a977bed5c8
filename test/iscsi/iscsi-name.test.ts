import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { checkIscsiName, checkTargetName, iscsiNameKey } from '../../src/iscsi/iscsi-name.js';

const ODD_NAMES = ['Target-911data', 'iqn.2015-1.example:x', 'iqn.2026-11.io.example:a,b', 'lab'];

describe('names', () => {
  it.each(ODD_NAMES)('of our own cannot be %s, which a target of others can', (name) => {
    expect(() => checkIscsiName(name, 'initiator')).toThrow(ConfigError);
    expect(() => checkTargetName(name)).not.toThrow();
  });

  it.each(['', 'a b', 'a\n', 'a\0', 'x'.repeat(224)])('of a target are not %j', (name) => {
    expect(() => checkTargetName(name)).toThrow(ConfigError);
  });

  it('are one whatever their case and composition', () => {
    expect(iscsiNameKey('IQN.2026-11.io.Example:Ä')).toBe(
      iscsiNameKey('iqn.2026-11.io.example:a\u0308'),
    );
    expect(iscsiNameKey('iqn.2026-11.io.example:a')).not.toBe(
      iscsiNameKey('iqn.2026-11.io.example:b'),
    );
  });
});
