import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { parseExportUrl, parsePortalUrl } from '../../src/gateway/url.js';

const TARGET = 'iqn.2026-11.io.example:lab';

describe('an export URL', () => {
  it('names portal, target and LUN, with the iSCSI port as default', () => {
    expect(parseExportUrl(`iser://192.0.2.1/${TARGET}/0`)).toEqual({
      kind: 'remote',
      portal: { host: '192.0.2.1', port: 3260 },
      targetName: TARGET,
      lun: 0,
      user: null,
      transport: 'iwarp',
      crc: false,
      fpduBytes: null,
      chapAlgorithms: null,
    });
  });

  it('may name a user, an IPv6 host, a port and how to travel', () => {
    expect(
      parseExportUrl(
        `iser://bob@[2001:db8::1]:3261/${TARGET}/12?transport=iwarp&crc=on&fpdu=32768&chapAlgorithms=sha256,MD5`,
      ),
    ).toMatchObject({
      portal: { host: '2001:db8::1', port: 3261 },
      lun: 12,
      user: 'bob',
      crc: true,
      chapAlgorithms: [7, 5],
      fpduBytes: 32_768,
    });
  });

  it.each(['fe80::1%eth0', 'fe80::1%25eth0'])('may have the scoped host %s', (host) => {
    expect(parseExportUrl(`iser://bob@[${host}]:3261/${TARGET}/0`)).toMatchObject({
      portal: { host: 'fe80::1%eth0', port: 3261 },
      user: 'bob',
    });
    expect(parsePortalUrl(`iser://[${host}]`).portal).toEqual({ host: 'fe80::1%eth0', port: 3260 });
  });

  it.each(['Target-911data', 'iqn.2015-1.example:x'])(
    'may name a target that others have called %s',
    (name) => {
      expect(parseExportUrl(`iser://host/${name}/0`)).toMatchObject({ targetName: name });
    },
  );

  it('may be an embedded LUN, whose text is for the target to read', () => {
    expect(parseExportUrl('memory:256M')).toEqual({ kind: 'embedded', spec: 'memory:256M' });
    expect(parseExportUrl('file:/x/y.img:1G')).toEqual({
      kind: 'embedded',
      spec: 'file:/x/y.img:1G',
    });
  });

  it.each([
    ['nonsense', 'not a URL'],
    ['iscsi://h/iqn.x/0', 'unknown scheme iscsi'],
    ['iser://', 'malformed'],
    ['iser://host', 'TARGET-IQN/LUN'],
    [`iser://host/${TARGET}`, 'TARGET-IQN/LUN'],
    [`iser://host/${TARGET}/x`, 'TARGET-IQN/LUN'],
    [`iser://host/a%20b/0`, 'no target name'],
    [`iser://[fe80::1%eth0/${TARGET}/0`, 'malformed'],
    [`iser://host/${TARGET}/16384`, 'at most 16383'],
    [`iser://host:0/${TARGET}/0`, 'not a port'],
    [`iser://host:99999/${TARGET}/0`, 'not a port'],
    [`iser://host/${TARGET}/0?transport=pigeon`, 'transport=pigeon is not known'],
    [`iser://host/${TARGET}/0?fpdu=9`, 'fpdu=9 is not known'],
    [`iser://host/iqn.2026-11.io.example:%zz/0`, 'percent'],
    [`iser://host/${TARGET}/0?chapAlgorithms=sha512`, 'sha3-256, sha256, sha1, md5'],
    [`iser://host/${TARGET}/0?chapAlgorithms=md5,MD5`, 'named twice'],
  ])('that is wrong is refused in one line: %s', (text, words) => {
    expect(() => parseExportUrl(text)).toThrow(ConfigError);
    expect(() => parseExportUrl(text)).toThrow(words);
  });

  it('carries no secret, and the refusal does not repeat it', () => {
    for (const text of [
      `iser://bob:hunter2@host/${TARGET}/0`,
      `iser://bob%hunter2@host/${TARGET}/0`,
      `iser://bob%31hunter2@host/${TARGET}/0`,
      `iser://bob%0ahunter2@host/${TARGET}/0`,
      `iser://bob%ffhunter2@host/${TARGET}/0`,
      `iser://b@hunter2:x@host/${TARGET}/0`,
      `iser://b:hunter2@host@host`,
    ]) {
      try {
        parseExportUrl(text);
        expect.unreachable();
      } catch (error) {
        expect((error as Error).message).toContain('must not contain a secret');
        expect((error as Error).message).not.toContain('hunter2');
      }
    }
  });

  it.each([
    ['user%40domain.example', 'user@domain.example'],
    ['user@domain.example', 'user@domain.example'],
    ['iqn.1993-08.org.debian%3A01%3aabc', 'iqn.1993-08.org.debian:01:abc'],
    ['DOMAIN%5Cuser', 'DOMAIN\\user'],
    ['100%25', '100%'],
    ['%E6%B1%9F', '江'],
    ['', null],
  ])('has the user %s percent-decoded', (written, user) => {
    expect(parseExportUrl(`iser://${written}@192.0.2.1/${TARGET}/0`)).toMatchObject({
      user,
      portal: { host: '192.0.2.1', port: 3260 },
    });
  });

  it('of any shape is parsed or refused with a ConfigError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((tail) => `iser://${tail}`),
        ),
        (text) => {
          try {
            parseExportUrl(text);
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError);
          }
        },
      ),
    );
  });
});

describe('a portal URL', () => {
  it('takes no path', () => {
    expect(parsePortalUrl('iser://h:1')).toMatchObject({ portal: { host: 'h', port: 1 } });
    expect(parsePortalUrl('iser://h/')).toMatchObject({ portal: { host: 'h', port: 3260 } });
    expect(() => parsePortalUrl(`iser://h/${TARGET}/0`)).toThrow('portal only');
  });
});
