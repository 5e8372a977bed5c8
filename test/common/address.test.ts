import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../src/common/address.js';
import { UsageError } from '../../src/common/errors.js';
import { EVERY_HOST, parseListenAddress } from '../../src/common/listen-address.js';

describe('an address', () => {
  it.each([
    ['192.0.2.1', { host: '192.0.2.1', port: null }],
    ['host.example:3260', { host: 'host.example', port: 3260 }],
    ['[2001:db8::1]', { host: '2001:db8::1', port: null }],
    ['[fe80::1%eth0]:3260', { host: 'fe80::1%eth0', port: 3260 }],
    ['[fe80::1%25eth0]:3260', { host: 'fe80::1%eth0', port: 3260 }],
    ['[::ffff:192.0.2.1]:0', { host: '::ffff:192.0.2.1', port: 0 }],
    [':10809', { host: '', port: 10809 }],
  ])('is read from %j', (text, expected) => {
    expect(parseAddress(text)).toEqual(expected);
  });

  it.each([
    '::1',
    '[::1',
    '[host]:1',
    '[]:1',
    '[::1]x',
    '[::1%]:1',
    'host:',
    'host:70000',
    'a:b:1',
  ])('is not %j', (text) => {
    expect(parseAddress(text)).toBeNull();
  });
});

describe('a listen address', () => {
  it('is host and port, and reads back as it is written', () => {
    for (const text of ['127.0.0.1:10809', '[::1]:0', 'localhost:65535', '[fe80::1%eth0]:10809']) {
      expect(formatAddress(parseListenAddress(text))).toBe(text);
    }
  });

  it('may be every address', () => {
    for (const text of [':10809', '*:10809']) {
      expect(parseListenAddress(text)).toEqual({ host: EVERY_HOST, port: 10809 });
    }
  });

  it.each([
    ['', /HOST:PORT/],
    ['10809', /HOST:PORT/],
    ['host', /the port is missing/],
    ['host:', /HOST:PORT/],
    ['host:70000', /HOST:PORT/],
    ['::1:80', /brackets/],
    ['fe80::1%eth0:80', /brackets/],
    ['x:y:1', /HOST:PORT/],
    ['nbd://host:1', /HOST:PORT/],
  ])('is not %j', (text, advice) => {
    expect(() => parseListenAddress(text)).toThrow(UsageError);
    expect(() => parseListenAddress(text)).toThrow(advice);
  });
});
