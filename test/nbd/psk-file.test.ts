import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { parsePskFile } from '../../src/nbd/psk-file.js';

const KEY = '00112233445566778899aabbccddeeff';

const parse = (text: string) => parsePskFile(Buffer.from(text), 'keys.psk');

describe('a key file', () => {
  it('has an identity and a key on each line', () => {
    const keys = parse(`alice:${KEY}\n\nbob:${KEY.toUpperCase()}00\r\n`);
    expect([...keys.keys()]).toEqual(['alice', 'bob']);
    expect(keys.get('alice')).toEqual(Buffer.from(KEY, 'hex'));
    expect(keys.get('bob')).toHaveLength(17);
  });

  it('may have an identity in hex, or with a colon in it', () => {
    const keys = parse(`#c3a4:${KEY}\nhost:disk:${KEY}\nö:${KEY}\n`);
    expect([...keys.keys()]).toEqual(['ä', 'host:disk', 'ö']);
  });

  it.each([
    ['', /contains no key/],
    ['alice', /line 1: expected identity:hexkey/],
    [`:${KEY}`, /line 1: the identity/],
    [`${'x'.repeat(129)}:${KEY}`, /line 1: the identity/],
    [`#00:${KEY}`, /line 1: the identity/],
    [`#x:${KEY}`, /line 1: the identity/],
    [`bob:${KEY}\n#ff:${KEY}`, /line 2: the identity .*UTF-8/],
    [`\ufeffalice:${KEY}`, /byte order mark/],
    ['alice:0011', /line 1: the key/],
    [`alice:${KEY}0`, /line 1: the key/],
    [`alice:${'00'.repeat(65)}`, /line 1: the key/],
    [`alice:${KEY}\nbob:secret`, /line 2: the key/],
    [`alice:${KEY}\nalice:${KEY}`, /line 2: the identity already has a key/],
  ])('like %j is refused by line', (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });

  it('has no identities that as text would be one', () => {
    const line = (byte: number) => Buffer.concat([Buffer.of(byte), Buffer.from(`:${KEY}\n`)]);
    const bytes = Buffer.concat([line(0xfe), line(0xff)]);
    expect(() => parsePskFile(bytes, 'keys.psk')).toThrow(/line 1: the identity .*UTF-8/);
  });

  it('is never quoted when it is refused', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-f]{20,60}$/), (secret) => {
        try {
          parse(`alice:zz${secret}\n`);
          expect.unreachable();
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
          expect(JSON.stringify([String(error), error])).not.toContain(secret);
        }
      }),
    );
  });
});
