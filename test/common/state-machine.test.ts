import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../src/common/assert.js';
import { StateMachine } from '../../src/common/state-machine.js';

const lamp = () =>
  new StateMachine('a lamp', { off: ['on'], on: ['off', 'broken'], broken: [] }, 'off');

describe('a state machine', () => {
  it('goes along its edges', () => {
    const machine = lamp();
    expect(machine.state).toBe('off');
    machine.enter('on');
    machine.enter('broken');
    expect([machine.is('broken'), machine.is('on')]).toEqual([true, false]);
  });

  it('refuses every other change, and stays where it was', () => {
    const machine = lamp();
    expect(() => machine.enter('broken')).toThrow(InvariantError);
    expect(() => machine.enter('broken')).toThrow('a lamp cannot go from off to broken');
    expect(() => machine.enter('off')).toThrow('a lamp cannot go from off to off');
    expect(machine.state).toBe('off');
  });
});
