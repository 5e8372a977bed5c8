import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { unixSocketAddress } from '../../src/gateway/unix-socket.js';

const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-'));
afterAll(() => rmSync(folder, { recursive: true }));
const files = { passwd: join(folder, 'passwd'), group: join(folder, 'group') };
writeFileSync(files.passwd, 'root:x:0:0:root:/root:/bin/sh\nqemu:x:107:64055::/:/bin/false\n');
writeFileSync(files.group, 'root:x:0:\nkvm:x:108:qemu\n');

const path = '/run/nbd.sock';

describe('a Unix socket', () => {
  it('has neither mode nor owner unless told', () => {
    expect(unixSocketAddress({ path }, files)).toEqual({ path, mode: null, owner: null });
  });

  it.each([
    ['0660', 0o660],
    ['600', 0o600],
    ['0777', 0o777],
  ])('has the mode %s', (mode, bits) => {
    expect(unixSocketAddress({ path, mode }, files).mode).toBe(bits);
  });

  it.each([
    ['qemu', { uid: 107, gid: -1 }],
    ['qemu:kvm', { uid: 107, gid: 108 }],
    [':kvm', { uid: -1, gid: 108 }],
    ['1000:2000', { uid: 1000, gid: 2000 }],
  ])('belongs to %s', (owner, ids) => {
    expect(unixSocketAddress({ path, owner }, files).owner).toEqual(ids);
  });

  it('asks for a number where there is no file of accounts', () => {
    const nowhere = { passwd: join(folder, 'none'), group: join(folder, 'none') };
    expect(() => unixSocketAddress({ path, owner: 'qemu' }, nowhere)).toThrow(/give its number/);
  });

  it.each(['rw', '0888', '1660', '66', ''])('is refused the mode %j', (mode) => {
    expect(() => unixSocketAddress({ path, mode }, files)).toThrow(ConfigError);
  });

  it.each(['nobody-here', 'qemu:nobody-here', '', ':', 'a:b:c', '4294967295'])(
    'is refused the owner %j',
    (owner) => {
      expect(() => unixSocketAddress({ path, owner }, files)).toThrow(ConfigError);
    },
  );
});
