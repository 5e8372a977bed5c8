import { beforeEach, describe, expect, it } from 'vitest';
import { ClientPlacement } from '../../../src/gateway/workers/placement.js';

let placement: ClientPlacement;
let lastConn: number;

beforeEach(() => {
  placement = new ClientPlacement({ connectionsMax: 8, connectionsPerAddressMax: 3 });
  lastConn = 0;
});

function come(address: string | null = null): number | null {
  lastConn++;
  placement.admit(lastConn, address);
  return placement.place(lastConn);
}

describe('where clients go', () => {
  it('is the workers in turn, while all have the same number', () => {
    for (const worker of [1, 2, 3]) placement.open(worker);
    expect([come(), come(), come(), come()]).toEqual([1, 2, 3, 1]);
  });

  it('is the worker with the fewest, and among equals the one whose turn it is', () => {
    for (const worker of [1, 2, 3]) placement.open(worker);
    for (let count = 0; count < 6; count++) come();
    placement.release(2);
    placement.release(5);
    placement.release(3);
    expect([come(), come(), come(), come()]).toEqual([2, 3, 2, 3]);
    expect([1, 2, 3].map((worker) => placement.countOf(worker))).toEqual([2, 2, 3]);
  });

  it('is spread evenly however often one client comes and goes', () => {
    for (const worker of [1, 2]) placement.open(worker);
    const workers = [];
    for (let round = 0; round < 4; round++) {
      workers.push(come());
      placement.release(lastConn);
    }
    expect(workers).toEqual([1, 2, 1, 2]);
  });

  it('is nowhere while there is no worker, and then the first that comes', () => {
    expect(come()).toBeNull();
    placement.open(2);
    expect(placement.place(1)).toBe(2);
    expect(placement.countOf(2)).toBe(1);
  });

  it('is never a worker that is shut; its clients stay counted until they are gone', () => {
    for (const worker of [1, 2]) placement.open(worker);
    expect([come(), come()]).toEqual([1, 2]);
    placement.shut(1);
    expect([come(), come()]).toEqual([2, 2]);
    expect(placement.clientsOf(1)).toEqual([1]);
    expect(placement.size).toBe(4);
    placement.open(1);
    expect(placement.countOf(1)).toBe(1);
    placement.release(1);
    expect([come(), come(), come()]).toEqual([1, 1, 1]);
  });

  it('may be another worker than before, which then counts it', () => {
    for (const worker of [1, 2]) placement.open(worker);
    come();
    placement.shut(1);
    expect(placement.place(1)).toBe(2);
    placement.open(1);
    expect([placement.countOf(1), placement.countOf(2)]).toEqual([0, 1]);
    placement.release(1);
    placement.release(1);
    expect([placement.countOf(1), placement.countOf(2), placement.size]).toEqual([0, 0, 0]);
  });
});

describe('how many clients there may be', () => {
  it('is counted over all workers, and over those that wait for one', () => {
    for (let count = 0; count < 4; count++) come();
    placement.open(1);
    for (let count = 0; count < 4; count++) {
      expect(placement.refusal(null)).toBeNull();
      come();
    }
    expect(placement.refusal(null)?.facts).toEqual({ connectionsMax: 8 });
    placement.release(3);
    expect(placement.refusal(null)).toBeNull();
  });

  it('is counted for each address over all workers', () => {
    for (const worker of [1, 2]) placement.open(worker);
    for (let count = 0; count < 3; count++) come('192.0.2.1');
    expect(placement.refusal('192.0.2.1')?.facts).toEqual({ connectionsPerAddressMax: 3 });
    expect(placement.refusal('::ffff:192.0.2.1')?.facts).toEqual({
      connectionsPerAddressMax: 3,
    });
    expect(placement.refusal('192.0.2.2')).toBeNull();
    expect(placement.refusal(null)).toBeNull();
    placement.release(2);
    expect(placement.refusal('192.0.2.1')).toBeNull();
  });

  it('leaves places for Unix sockets where there is one', () => {
    placement = new ClientPlacement({ connectionsMax: 16, connectionsPerAddressMax: null });
    placement.keepForUnix();
    for (let count = 0; count < 14; count++) come('192.0.2.1');
    expect(placement.refusal('192.0.2.2')?.message).toMatch(/2 of them for Unix sockets/);
    expect(placement.refusal(null)).toBeNull();
  });
});
