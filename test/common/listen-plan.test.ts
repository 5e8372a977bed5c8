import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { parseListenAddress } from '../../src/common/listen-address.js';
import { openPlaces, planListening } from '../../src/common/listen-plan.js';
import type { ListenPlace } from '../../src/common/listen-plan.js';

const NAMES: Readonly<Record<string, readonly string[]>> = {
  'two.example': ['192.0.2.1', '2001:db8::1'],
};

async function plan(...texts: string[]): Promise<string[][]> {
  const groups = await planListening(texts.map(parseListenAddress), (name) => {
    const found = NAMES[name];
    const error = Object.assign(new Error('no'), { code: 'ENOTFOUND' });
    return found === undefined ? Promise.reject(error) : Promise.resolve(found);
  });
  return groups.map((group) =>
    group.map(({ host, port, ipv6Only, isOptional }) =>
      [host, port, ipv6Only === true ? 'v6only' : '', isOptional === true ? 'optional' : '']
        .filter((part) => part !== '')
        .join(' '),
    ),
  );
}

describe('what it takes to listen', () => {
  it('on all addresses is a socket for each family', async () => {
    const both = [['0.0.0.0 1 optional', ':: 1 v6only optional']];
    expect(await plan(':1')).toEqual(both);
    expect(await plan('*:1')).toEqual(both);
  });

  it('on the wildcards of both families is v6only, and on that of IPv6 alone is not', async () => {
    expect(await plan('0.0.0.0:1', '[::]:1')).toEqual([['0.0.0.0 1', ':: 1 v6only']]);
    expect(await plan('[::]:1', '127.0.0.1:1')).toEqual([[':: 1 v6only', '127.0.0.1 1']]);
    expect(await plan('[::]:1')).toEqual([[':: 1']]);
    expect(await plan('[::]:1', '0.0.0.0:2')).toEqual([[':: 1'], ['0.0.0.0 2']]);
  });

  it('on a name is a socket for each of its addresses', async () => {
    expect(await plan('localhost:1')).toEqual([['127.0.0.1 1 optional', '::1 1 optional']]);
    expect(await plan('two.example:1')).toEqual([
      ['192.0.2.1 1 optional', '2001:db8::1 1 optional'],
    ]);
    await expect(plan('none.example:1')).rejects.toThrow(
      /cannot listen on none\.example:1: there is no host of that name/,
    );
    await expect(plan('none.example:1')).rejects.toBeInstanceOf(ConfigError);
  });

  it('twice on one address is one socket, also below the wildcard', async () => {
    expect(await plan('127.0.0.1:1', 'localhost:1')).toEqual([['127.0.0.1 1', '::1 1 optional']]);
    expect(await plan('127.0.0.1:1', ':1')).toEqual([
      ['0.0.0.0 1 optional', ':: 1 v6only optional'],
    ]);
  });

  it('on any port is on one port, but for one address asked for twice', async () => {
    expect(await plan('127.0.0.1:0', '[::1]:0')).toEqual([['127.0.0.1 0', '::1 0']]);
    expect(await plan('127.0.0.1:0', '127.0.0.1:0')).toEqual([['127.0.0.1 0'], ['127.0.0.1 0']]);
  });
});

/** A machine whose addresses and taken ports are given. */
class Machine {
  readonly open = new Set<string>();
  readonly #absent: readonly string[];
  readonly #taken: readonly string[];
  #nextPort = 5000;

  constructor({ absent = [], taken = [] }: { absent?: string[]; taken?: string[] }) {
    this.#absent = absent;
    this.#taken = taken;
  }

  bind = ({ host, port: asked }: ListenPlace): Promise<{ port: number; name: string }> => {
    const port = asked === 0 ? this.#nextPort++ : asked;
    const name = `${host} ${port}`;
    const fail = (code: string) =>
      Promise.reject(new ConfigError('listen', code, {}, Object.assign(new Error(), { code })));
    if (this.#absent.includes(host)) return fail('EADDRNOTAVAIL');
    if (this.#taken.includes(name) || this.open.has(name)) return fail('EADDRINUSE');
    this.open.add(name);
    return Promise.resolve({ port, name });
  };

  close = ({ name }: { name: string }): void => void this.open.delete(name);

  async listen(...texts: string[]): Promise<string[]> {
    const groups = await planListening(texts.map(parseListenAddress));
    return (await openPlaces(groups, this.bind, this.close)).map(({ name }) => name);
  }
}

describe('opening what was planned', () => {
  it('tries other ports until one is free on all addresses', async () => {
    const machine = new Machine({ taken: ['::1 5000', '::1 5001'] });
    expect(await machine.listen('localhost:0')).toEqual(['127.0.0.1 5002', '::1 5002']);
    expect([...machine.open]).toEqual(['127.0.0.1 5002', '::1 5002']);
  });

  it('does without an address of a name that the machine does not have', async () => {
    const machine = new Machine({ absent: ['::1', '::'] });
    expect(await machine.listen('localhost:7', ':8')).toEqual(['127.0.0.1 7', '0.0.0.0 8']);
  });

  it('fails when the machine has none of them', async () => {
    const machine = new Machine({ absent: ['::1', '127.0.0.1'] });
    await expect(machine.listen('localhost:7')).rejects.toThrow('EADDRNOTAVAIL');
  });

  it('leaves nothing open when one cannot be had', async () => {
    const machine = new Machine({ absent: ['203.0.113.1'], taken: ['::1 9'] });
    await expect(machine.listen('127.0.0.1:7', '203.0.113.1:8')).rejects.toThrow('EADDRNOTAVAIL');
    await expect(machine.listen('localhost:9')).rejects.toThrow('EADDRINUSE');
    expect([...machine.open]).toEqual([]);
  });
});
