import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/common/manual-clock.js';
import { ClientAdmission } from '../../../src/gateway/workers/admission.js';
import { ADMISSION_MS } from '../../../src/gateway/workers/limits.js';
import { HandleDouble } from '../../support/gateway/scripted-workers.js';

let clock: ManualClock;
let workers: number[];
let events: string[];
let admission: ClientAdmission;

beforeEach(() => {
  clock = new ManualClock();
  workers = [1, 2];
  events = [];
  admission = new ClientAdmission(clock, {
    serving: () => workers,
    ask: (worker, round) => events.push(`ask ${worker} in ${round}`),
    admit: ({ conn }) => events.push(`admit ${conn}`),
    unanswered: (worker) => events.push(`unanswered ${worker}`),
  });
});

function arrive(conn: number): void {
  admission.arrive({ conn, address: null, handle: new HandleDouble() });
}

describe('a client', () => {
  it('is let in when every worker has announced what it is changing', () => {
    arrive(1);
    expect(events).toEqual(['ask 1 in 1', 'ask 2 in 1']);
    admission.answered(2, 1);
    expect(events).toHaveLength(2);
    admission.answered(1, 1);
    expect(events.slice(2)).toEqual(['admit 1']);
    expect(clock.armedCount).toBe(0);
  });

  it('that comes meanwhile is let in after another round', () => {
    arrive(1);
    arrive(2);
    arrive(3);
    admission.answered(1, 1);
    admission.answered(2, 1);
    expect(events.slice(2)).toEqual(['admit 1', 'ask 1 in 2', 'ask 2 in 2']);
    // What was announced before it came is not enough.
    admission.answered(1, 1);
    admission.answered(2, 2);
    expect(events).toHaveLength(5);
    admission.answered(1, 2);
    expect(events.slice(5)).toEqual(['admit 2', 'admit 3']);
  });

  it('does not wait for a worker that has ended, nor where there is none', () => {
    arrive(1);
    admission.answered(1, 1);
    admission.ended(2);
    workers = [];
    arrive(2);
    expect(events.slice(2)).toEqual(['admit 1', 'admit 2']);
  });

  it('does not wait for ever for a worker that does not answer', () => {
    arrive(1);
    admission.answered(1, 1);
    clock.advance(ADMISSION_MS);
    expect(events.slice(2)).toEqual(['unanswered 2', 'admit 1']);
    arrive(2);
    admission.answered(2, 1);
    admission.answered(1, 2);
    expect(events.slice(4)).toEqual(['ask 1 in 2', 'ask 2 in 2']);
  });

  it('that was not let in is given back at the end', () => {
    arrive(1);
    arrive(2);
    expect(admission.close().map(({ conn }) => conn)).toEqual([1, 2]);
    admission.answered(1, 1);
    admission.answered(2, 1);
    clock.advance(ADMISSION_MS);
    expect(events).toHaveLength(2);
  });
});
