import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { inheritedSockets } from '../../src/gateway/activation.js';
import type { ActivationSource } from '../../src/gateway/activation.js';

const UNIX_SOCKETS = [
  'Num       RefCount Protocol Flags    Type St Inode Path',
  '0000000000000000: 00000002 00000000 00010000 0001 01 11111 /run/iser nbd/nbd.sock',
  '0000000000000000: 00000002 00000000 00010000 0001 01 22222',
  '0000000000000000: 00000002 00000000 00010000 0001 01 33333 @abstract',
].join('\n');

function source(environment: NodeJS.ProcessEnv, links: readonly string[] = []): ActivationSource {
  return {
    pid: 42,
    environment,
    linkOf: (fd) => {
      const link = links[fd - 3];
      if (link === undefined) throw new Error('EBADF');
      return link;
    },
    unixSockets: () => UNIX_SOCKETS,
  };
}

describe('socket activation', () => {
  it('is not there without its variables, or when they are for another process', () => {
    expect(inheritedSockets(source({}))).toEqual([]);
    expect(inheritedSockets(source({ LISTEN_FDS: '1' }))).toEqual([]);
    expect(inheritedSockets(source({ LISTEN_PID: '41', LISTEN_FDS: '1' }))).toEqual([]);
  });

  it('hands over the descriptors from 3 on, called by their path or their name', () => {
    const environment = { LISTEN_PID: '42', LISTEN_FDS: '4', LISTEN_FDNAMES: 'a:b:c:d', X: 'y' };
    const links = ['socket:[11111]', 'socket:[22222]', 'socket:[33333]', 'socket:[44444]'];
    expect(inheritedSockets(source(environment, links))).toEqual([
      { fd: 3, path: '/run/iser nbd/nbd.sock' },
      { fd: 4, path: 'b#4' },
      { fd: 5, path: '@abstract' },
      { fd: 6, path: 'd#6' },
    ]);
    expect(environment).toEqual({ X: 'y' });
  });

  it.each(['-1', '1.5', 'many', '65', ''])('with LISTEN_FDS=%j is refused', (count) => {
    const environment = { LISTEN_PID: '42', LISTEN_FDS: count };
    expect(() => inheritedSockets(source(environment))).toThrow(ConfigError);
  });

  it('with a descriptor that is no socket is refused', () => {
    for (const links of [[], ['/dev/null']]) {
      const environment = { LISTEN_PID: '42', LISTEN_FDS: '1' };
      expect(() => inheritedSockets(source(environment, links))).toThrow(/descriptor 3/);
    }
  });
});
