import { beforeEach, describe, expect, it } from 'vitest';
import { ClientCounts } from '../../src/nbd/client-counts.js';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';

let counts: ClientCounts;

beforeEach(() => {
  counts = new ClientCounts(DEFAULT_LIMITS);
});

/** Clients come from there until one is refused, `max` at most; returns how many were not. */
function come(address: string | null, max = Infinity): number {
  let count = 0;
  for (; count < max && counts.refusal(address) === null; count++) counts.change(address, 1);
  return count;
}

describe('the places that there are by default', () => {
  it('suit a hypervisor with 40 disks of 4 connections, and three of them behind one address', () => {
    counts.keepForUnix();
    expect(come('192.0.2.1', 3 * 40 * 4 - 32)).toBe(448);
    expect(come('192.0.2.2', 160)).toBe(160);
  });

  it('suit 200 hosts of one IPv6 network with 4 each, which count singly', () => {
    for (let host = 1; host <= 200; host++)
      expect(come(`2001:db8::${host.toString(16)}`, 4)).toBe(4);
  });

  it('are not filled by a few addresses', () => {
    const taken = [1, 2, 3, 4].map((host) => come(`192.0.2.${host}`));
    expect(taken).toEqual([512, 256, 128, 64]);
    expect(come('192.0.2.5', 16)).toBe(16);
  });

  it('are not filled by TCP clients where there is a Unix socket', () => {
    counts.keepForUnix();
    let taken = 0;
    for (let host = 1; host < 200; host++) taken += come(`192.0.2.${host}`);
    expect(taken).toBe(896);
    expect(counts.refusal('192.0.2.250')?.message).toMatch(/128 of them for Unix sockets/);
    expect(come(null)).toBe(128);
    expect(counts.refusal(null)?.message).toMatch(/limits.connections is 1024/);
  });

  it('may all be taken by Unix sockets', () => {
    expect(come(null)).toBe(1024);
    expect(counts.refusal('192.0.2.1')?.facts).toEqual({ connectionsMax: 1024 });
  });

  it('come free again', () => {
    const taken = come('192.0.2.1');
    for (let count = 0; count < taken; count++) counts.change('192.0.2.1', -1);
    expect(come('192.0.2.2')).toBe(taken);
  });
});

describe('few places', () => {
  it.each([1, 2, 4, 16])('%i may all go to one address', (connectionsMax) => {
    counts = new ClientCounts({ connectionsMax, connectionsPerAddressMax: null });
    expect(come('192.0.2.1')).toBe(connectionsMax);
  });
});

describe('a number for each address', () => {
  it('is what it says, in all of the address’s forms', () => {
    counts = new ClientCounts({ connectionsMax: 100, connectionsPerAddressMax: 90 });
    expect(come('192.0.2.1')).toBe(90);
    expect(counts.refusal('::ffff:192.0.2.1')).toEqual({
      message: expect.stringMatching(/limits.connectionsPerAddress is 90/) as string,
      facts: { connectionsPerAddressMax: 90 },
    });
    expect(come('192.0.2.2')).toBe(10);
  });
});
