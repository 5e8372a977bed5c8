import { describe, expect, it } from 'vitest';
import type { IserConnectionState } from '../../src/iser/state.js';
import { Completion, IserStateMachine, ReleaseGates, transitions } from '../../src/iser/state.js';

const states = Object.keys(transitions) as IserConnectionState[];

/** The legal way to each state. */
const waysTo: Record<IserConnectionState, IserConnectionState[]> = {
  init: [],
  pending: ['pending'],
  up: ['pending', 'up'],
  terminating: ['pending', 'up', 'terminating'],
  down: ['pending', 'up', 'terminating', 'down'],
};

function machineIn(state: IserConnectionState): IserStateMachine {
  const machine = new IserStateMachine();
  for (const step of waysTo[state]) machine.enter(step);
  return machine;
}

describe('the connection state', () => {
  it('goes from init over pending, up and terminating to down', () => {
    const seen: IserConnectionState[] = [];
    const machine = new IserStateMachine((state) => seen.push(state));
    for (const state of waysTo.down) machine.enter(state);
    expect(seen).toEqual(['pending', 'up', 'terminating', 'down']);
  });

  it.each(states.flatMap((from) => states.map((to) => [from, to] as const)))(
    'from %s to %s changes only along an edge of the table',
    (from, to) => {
      const machine = machineIn(from);
      if (transitions[from].includes(to)) {
        machine.enter(to);
        expect(machine.state).toBe(to);
      } else {
        expect(() => machine.enter(to)).toThrow(`from ${from} to ${to}`);
        expect(machine.state).toBe(from);
      }
    },
  );

  it('never leaves down, and never comes back to what it was', () => {
    expect(transitions.down).toEqual([]);
    const order = states.indexOf.bind(states);
    for (const from of states) {
      for (const to of transitions[from]) expect(order(to)).toBeGreaterThan(order(from));
    }
  });
});

describe('a completion', () => {
  it('calls those who wait once, and those who come later at once', () => {
    const completion = new Completion();
    const calls: string[] = [];
    completion.whenDone(() => calls.push('early'));
    expect(calls).toEqual([]);
    completion.complete();
    completion.complete();
    completion.whenDone(() => calls.push('late'));
    expect(calls).toEqual(['early', 'late']);
    expect(completion.isDone).toBe(true);
  });
});

describe('the release gates', () => {
  it.each([['stopped', 'transportGone'] as const, ['transportGone', 'stopped'] as const])(
    'release after %s and then %s, once',
    (first, second) => {
      let releases = 0;
      const gates = new ReleaseGates(() => releases++);
      gates[first].complete();
      expect(releases).toBe(0);
      gates[second].complete();
      expect(releases).toBe(1);
      gates[first].complete();
      gates[second].complete();
      expect(releases).toBe(1);
    },
  );
});
