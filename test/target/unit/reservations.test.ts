import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Asc } from '../../../src/scsi/sense.js';
import { NO_KEY, PersistentReserveOut, ReservationType } from '../../../src/scsi/wire.js';
import type { InitiatorPort } from '../../../src/scsi/wire.js';
import { REGISTRATIONS_MAX } from '../../../src/store/limits.js';
import { NexusAccess, Attention } from '../../../src/target/unit/nexus.js';
import { portKeyOf } from '../../../src/store/reservation-keeper.js';
import {
  accessOf,
  isForRegistrants,
  isHolder,
  registrationOf,
  reserveOut,
} from '../../../src/target/unit/reservations.js';
import { NO_RESERVATIONS } from '../../../src/scsi/reservation-state.js';
import type { ReserveOut, ReserveOutcome } from '../../../src/target/unit/reservations.js';
import type { Reservations } from '../../../src/scsi/reservation-state.js';
import { keyOf } from '../../support/target/reservations.js';

const {
  register,
  reserve,
  release,
  clear,
  preempt,
  preemptAndAbort,
  registerAndIgnoreExistingKey,
} = PersistentReserveOut;
const {
  writeExclusive,
  exclusiveAccess,
  writeExclusiveRegistrantsOnly,
  exclusiveAccessRegistrantsOnly,
  writeExclusiveAllRegistrants,
  exclusiveAccessAllRegistrants,
} = ReservationType;
const SINGLE = [writeExclusive, exclusiveAccess];
const REGISTRANTS_ONLY = [writeExclusiveRegistrantsOnly, exclusiveAccessRegistrantsOnly];
const ALL_REGISTRANTS = [writeExclusiveAllRegistrants, exclusiveAccessAllRegistrants];
const ALL_TYPES = [...SINGLE, ...REGISTRANTS_ONLY, ...ALL_REGISTRANTS];
const { registrationsPreempted, reservationsPreempted, reservationsReleased } = Attention;

const portOf = (name: string, isidLow = 1): InitiatorPort => ({
  initiatorName: `iqn.2026-11.io.example:${name}`,
  isidHigh: 0,
  isidLow,
});
/** The names of ports, for what the outcomes tell. */
const nameOf = (portKey: string): string => portKey.replace(/^.*:(.*),i,0x.*$/, '$1');

/** A logical unit's reservations; initiators are `a`, `b` and so on, and their keys the same digit again and again. */
class Bench {
  state: Reservations = NO_RESERVATIONS;
  attentions: Record<string, number> = {};
  aborts: string[] = [];

  constructor(readonly canPersist = true) {}

  send(
    name: string,
    action: PersistentReserveOut,
    fields: Partial<ReserveOut> = {},
  ): ReserveOutcome {
    const request: ReserveOut = {
      action,
      scope: 0,
      type: 0,
      key: keyOf(name),
      serviceActionKey: NO_KEY,
      ports: null,
      allTargetPorts: false,
      persists: false,
      ...fields,
    };
    return reserveOut(this.state, request, portOf(name), this.canPersist);
  }

  /** Sends what must succeed, and takes its effects on. */
  do(name: string, action: PersistentReserveOut, fields: Partial<ReserveOut> = {}): void {
    const outcome = this.send(name, action, fields);
    if (outcome.kind !== 'done') throw new Error(JSON.stringify(outcome));
    this.state = outcome.state;
    this.attentions = Object.fromEntries(
      outcome.attentions.map(([portKey, attention]) => [nameOf(portKey), attention]),
    );
    this.aborts = outcome.aborts.map(nameOf);
  }

  register(...names: string[]): void {
    for (const name of names) {
      this.do(name, register, { key: NO_KEY, serviceActionKey: keyOf(name) });
    }
  }

  get registered(): string[] {
    return this.state.registrations.map(({ portKey }) => nameOf(portKey));
  }

  isHeldBy(name: string): boolean {
    return isHolder(this.state, portKeyOf(portOf(name)));
  }
}

function benchOf(...names: string[]): Bench {
  const bench = new Bench();
  bench.register(...names);
  return bench;
}

const conflict = { kind: 'conflict' };
const refusal = (asc: number) => ({ kind: 'refused', asc });

describe('REGISTER', () => {
  it('takes a key from who has none, and gives 0 as the one it had', () => {
    const bench = new Bench();
    bench.register('a', 'b');
    expect(bench.registered).toEqual(['a', 'b']);
    expect(bench.state.generation).toBe(2);
    const other = { key: keyOf('c'), serviceActionKey: keyOf('d') };
    expect(bench.send('c', register, other)).toEqual(conflict);
    expect(bench.send('a', register, { key: NO_KEY, serviceActionKey: keyOf('d') })).toEqual(
      conflict,
    );
  });

  it('changes a key, which the reservation follows', () => {
    const bench = benchOf('a');
    bench.do('a', reserve, { type: exclusiveAccess });
    bench.do('a', register, { serviceActionKey: keyOf('f') });
    expect(bench.state.registrations[0]?.key).toBe(keyOf('f'));
    expect(bench.isHeldBy('a')).toBe(true);
    expect(bench.state.generation).toBe(2);
  });

  it('with key 0 takes back what there is, or nothing', () => {
    const bench = benchOf('a');
    const before = bench.state;
    bench.do('b', register, { key: NO_KEY });
    expect(bench.state).toBe(before);
    bench.do('a', register);
    expect(bench.registered).toEqual([]);
    expect(bench.state.generation).toBe(2);
  });

  it('and IGNORE EXISTING KEY does the same without knowing the key', () => {
    const bench = benchOf('a');
    const ignore = (name: string, digit: string) =>
      bench.do(name, registerAndIgnoreExistingKey, {
        key: keyOf('9'),
        serviceActionKey: keyOf(digit),
      });
    ignore('b', '2');
    ignore('a', '1');
    expect(bench.state.registrations.map(({ key }) => key)).toEqual([keyOf('1'), keyOf('2')]);
    ignore('a', '0');
    expect(bench.registered).toEqual(['b']);
    const before = bench.state;
    ignore('c', '0');
    expect(bench.state).toBe(before);
  });

  it('knows an initiator by its name, whatever its case, and its ISID', () => {
    const bench = benchOf('a');
    expect(portKeyOf(portOf('A'))).toBe(portKeyOf(portOf('a')));
    expect(portKeyOf(portOf('a', 1))).not.toBe(portKeyOf(portOf('a', 2)));
    bench.do('A', register, { key: keyOf('a'), serviceActionKey: keyOf('b') });
    expect(bench.registered).toEqual(['a']);
  });

  it('registers other ports with SPEC_I_PT, those that are registered already left as they are', () => {
    const bench = benchOf('b');
    bench.do('a', register, {
      key: NO_KEY,
      serviceActionKey: keyOf('e'),
      ports: [portOf('b'), portOf('c'), portOf('a'), portOf('c')],
      allTargetPorts: true,
    });
    expect(bench.state.registrations.map(({ portKey, key }) => [nameOf(portKey), key])).toEqual([
      ['b', keyOf('b')],
      ['a', keyOf('e')],
      ['c', keyOf('e')],
    ]);
    expect(bench.state.registrations.map(({ allTargetPorts }) => allTargetPorts)).toEqual([
      false,
      true,
      true,
    ]);
    const again = { serviceActionKey: keyOf('f'), ports: [] };
    expect(bench.send('b', register, again)).toEqual(refusal(Asc.invalidFieldInParameterList));
    for (const action of [reserve, clear, preempt, registerAndIgnoreExistingKey]) {
      expect(bench.send('b', action, { ports: [] })).toEqual(
        refusal(Asc.invalidFieldInParameterList),
      );
    }
  });

  it('has room for so many, all or none of a request', () => {
    const bench = new Bench();
    const ports = Array.from({ length: REGISTRATIONS_MAX - 1 }, (_, index) => portOf('x', index));
    bench.do('a', register, { key: NO_KEY, serviceActionKey: keyOf('a'), ports });
    const full = refusal(Asc.insufficientRegistrationResources);
    expect(bench.send('b', register, { key: NO_KEY, serviceActionKey: keyOf('b') })).toEqual(full);
    bench.do('a', register);
    const two = { key: NO_KEY, serviceActionKey: keyOf('b'), ports: [portOf('c')] };
    expect(bench.send('b', register, two)).toEqual(full);
    bench.register('b');
  });

  it('survives a power loss when the last one says so, where that is possible', () => {
    const bench = new Bench();
    const ask = (persists: boolean) => ({
      key: NO_KEY,
      serviceActionKey: keyOf('a'),
      persists,
    });
    bench.do('a', register, ask(true));
    expect(bench.state.persists).toBe(true);
    bench.register('b');
    expect(bench.state.persists).toBe(false);
    bench.do('b', register, { persists: true });
    expect([bench.registered, bench.state.persists]).toEqual([['a'], true]);
    expect(new Bench(false).send('a', register, ask(true))).toEqual(
      refusal(Asc.invalidFieldInParameterList),
    );
  });
});

describe('RESERVE', () => {
  it.each(ALL_TYPES)('of type %i is for who is registered, and holds off all others', (type) => {
    const bench = benchOf('a', 'b');
    expect(bench.send('c', reserve, { type })).toEqual(conflict);
    expect(bench.send('a', reserve, { type, key: keyOf('9') })).toEqual(conflict);
    bench.do('a', reserve, { type });
    expect(bench.state.generation).toBe(2);
    expect(bench.isHeldBy('a')).toBe(true);
    const isOfAll = ALL_REGISTRANTS.includes(type as never);
    expect(bench.isHeldBy('b')).toBe(isOfAll);
    // The same once more changes nothing; another is a conflict, for the holder as well.
    const before = bench.state;
    bench.do('a', reserve, { type });
    expect(bench.state).toBe(before);
    if (isOfAll) bench.do('b', reserve, { type });
    else expect(bench.send('b', reserve, { type })).toEqual(conflict);
    for (const other of ALL_TYPES.filter((each) => each !== type)) {
      for (const name of ['a', 'b']) {
        expect(bench.send(name, reserve, { type: other })).toEqual(conflict);
      }
    }
  });

  it.each([0, 2, 4, 9, 15])('of type %i does not exist, nor does another scope', (type) => {
    const bench = benchOf('a');
    const { invalidFieldInCdb } = Asc;
    expect(bench.send('a', reserve, { type })).toEqual(refusal(invalidFieldInCdb));
    const element = { type: writeExclusive, scope: 2 };
    expect(bench.send('a', reserve, element)).toEqual(refusal(invalidFieldInCdb));
  });
});

describe('RELEASE', () => {
  it.each(ALL_TYPES)('of type %i ends it, and tells those whose access hung on it', (type) => {
    const bench = benchOf('a', 'b', 'c');
    bench.do('a', reserve, { type });
    bench.do('a', release, { type });
    expect(bench.state.reservation).toBeNull();
    expect(bench.registered).toEqual(['a', 'b', 'c']);
    expect(bench.attentions).toEqual(
      isForRegistrants(type) ? { b: reservationsReleased, c: reservationsReleased } : {},
    );
    expect(bench.state.generation).toBe(3);
  });

  it('of who does not hold it, or of nothing, does nothing', () => {
    const bench = benchOf('a', 'b');
    const nothing = bench.state;
    bench.do('a', release, { type: writeExclusive });
    expect(bench.state).toBe(nothing);
    bench.do('a', reserve, { type: writeExclusive });
    const held = bench.state;
    bench.do('b', release, { type: exclusiveAccess });
    expect(bench.state).toBe(held);
    expect(bench.send('c', release, { type: writeExclusive })).toEqual(conflict);
  });

  it('must name the type and scope that there are', () => {
    const bench = benchOf('a');
    bench.do('a', reserve, { type: writeExclusive });
    const wrong = refusal(Asc.invalidReleaseOfReservation);
    expect(bench.send('a', release, { type: exclusiveAccess })).toEqual(wrong);
    expect(bench.send('a', release, { type: writeExclusive, scope: 1 })).toEqual(wrong);
  });
});

describe('taking back the registration', () => {
  it.each(ALL_TYPES)('of a holder of type %i releases what nobody else holds', (type) => {
    const bench = benchOf('a', 'b', 'c');
    bench.do('a', reserve, { type });
    bench.do('a', register);
    if (ALL_REGISTRANTS.includes(type as never)) {
      expect(bench.state.reservation).toEqual({ type, holder: null });
      expect(bench.attentions).toEqual({});
      bench.do('b', register);
      bench.do('c', register);
    } else {
      const told = REGISTRANTS_ONLY.includes(type as never);
      expect(bench.attentions).toEqual(
        told ? { b: reservationsReleased, c: reservationsReleased } : {},
      );
    }
    expect(bench.state.reservation).toBeNull();
  });

  it('of another leaves the reservation alone', () => {
    const bench = benchOf('a', 'b');
    bench.do('a', reserve, { type: exclusiveAccessRegistrantsOnly });
    bench.do('b', register);
    expect(bench.isHeldBy('a')).toBe(true);
    expect(bench.attentions).toEqual({});
  });
});

describe('CLEAR', () => {
  it('ends everything, by whoever is registered, and tells the others', () => {
    const bench = benchOf('a', 'b', 'c');
    bench.do('a', reserve, { type: exclusiveAccess });
    expect(bench.send('d', clear)).toEqual(conflict);
    expect(bench.send('b', clear, { key: keyOf('9') })).toEqual(conflict);
    bench.do('b', clear);
    expect([bench.registered, bench.state.reservation]).toEqual([[], null]);
    expect(bench.attentions).toEqual({ a: reservationsPreempted, c: reservationsPreempted });
    expect(bench.state.generation).toBe(4);
  });
});

describe.each([
  ['PREEMPT', preempt, false],
  ['PREEMPT AND ABORT', preemptAndAbort, true],
])('%s', (_name, action, aborts) => {
  const aborted = (...names: string[]) => (aborts ? names : []);

  it('is for who is registered, and for a key that somebody has', () => {
    const bench = benchOf('a');
    expect(bench.send('b', action, { serviceActionKey: keyOf('a') })).toEqual(conflict);
    expect(bench.send('a', action, { serviceActionKey: keyOf('b') })).toEqual(conflict);
    expect(bench.send('a', action, { key: keyOf('9'), serviceActionKey: keyOf('a') })).toEqual(
      conflict,
    );
    expect(bench.send('a', action)).toEqual(refusal(Asc.invalidFieldInParameterList));
  });

  it.each([...SINGLE, ...REGISTRANTS_ONLY])(
    'of the holder takes its reservation of type %i',
    (type) => {
      const bench = benchOf('a', 'b', 'c');
      bench.do('a', reserve, { type });
      bench.do('b', action, { serviceActionKey: keyOf('a'), type });
      expect(bench.registered).toEqual(['b', 'c']);
      expect([bench.isHeldBy('a'), bench.isHeldBy('b')]).toEqual([false, true]);
      expect(bench.attentions).toEqual({ a: registrationsPreempted });
      expect(bench.aborts).toEqual(aborted('a'));
      expect(bench.state.generation).toBe(4);
    },
  );

  it('tells the others when that changes the type', () => {
    const bench = benchOf('a', 'b', 'c');
    bench.do('a', reserve, { type: writeExclusive });
    bench.do('b', action, { serviceActionKey: keyOf('a'), type: exclusiveAccess });
    expect(bench.attentions).toEqual({ a: registrationsPreempted, c: reservationsReleased });
  });

  it('of another takes its registration only, whatever scope and type say', () => {
    const bench = benchOf('a', 'b', 'c');
    bench.do('a', reserve, { type: exclusiveAccess });
    bench.do('a', action, { serviceActionKey: keyOf('b'), type: 15, scope: 9 });
    expect(bench.registered).toEqual(['a', 'c']);
    expect(bench.state.reservation).toMatchObject({ type: exclusiveAccess });
    expect(bench.attentions).toEqual({ b: registrationsPreempted });
    expect(bench.aborts).toEqual(aborted('b'));
  });

  it('takes all registrations with the key', () => {
    const bench = new Bench();
    for (const name of ['b', 'c', 'd']) {
      bench.do(name, register, { key: NO_KEY, serviceActionKey: keyOf('e') });
    }
    bench.register('a');
    bench.do('c', reserve, { key: keyOf('e'), type: writeExclusive });
    bench.do('a', action, { serviceActionKey: keyOf('e'), type: writeExclusive });
    expect(bench.registered).toEqual(['a']);
    expect(bench.isHeldBy('a')).toBe(true);
    expect(bench.aborts).toEqual(aborted('b', 'c', 'd'));
  });

  it('of its own key changes its reservation, or takes its registration where it holds none', () => {
    const bench = benchOf('a', 'b');
    bench.do('a', reserve, { type: writeExclusive });
    bench.do('a', action, { serviceActionKey: keyOf('a'), type: exclusiveAccess });
    expect(bench.registered).toEqual(['a', 'b']);
    expect(bench.state.reservation).toMatchObject({ type: exclusiveAccess });
    expect(bench.attentions).toEqual({ b: reservationsReleased });
    expect(bench.aborts).toEqual(aborted('a'));
    bench.do('b', action, { serviceActionKey: keyOf('b') });
    expect(bench.registered).toEqual(['a']);
    expect(bench.attentions).toEqual({});
  });

  it.each(ALL_REGISTRANTS)('with key 0 takes type %i from all others', (type) => {
    const bench = benchOf('a', 'b', 'c');
    bench.do('a', reserve, { type });
    bench.do('b', action, { type: exclusiveAccess });
    expect(bench.registered).toEqual(['b']);
    expect(bench.state.reservation).toMatchObject({ type: exclusiveAccess });
    expect(bench.attentions).toEqual({ a: registrationsPreempted, c: registrationsPreempted });
    expect(bench.aborts).toEqual(aborted('a', 'c'));
  });

  it.each(ALL_REGISTRANTS)('with a key takes one of the holders of type %i', (type) => {
    const bench = benchOf('a', 'b', 'c');
    bench.do('a', reserve, { type });
    bench.do('b', action, { serviceActionKey: keyOf('a'), type: exclusiveAccess });
    expect(bench.registered).toEqual(['b', 'c']);
    expect(bench.state.reservation).toEqual({ type, holder: null });
    bench.do('b', action, { serviceActionKey: keyOf('c') });
    bench.do('b', action, { serviceActionKey: keyOf('b') });
    expect([bench.registered, bench.state.reservation]).toEqual([[], null]);
  });

  it('to another type must name one that exists', () => {
    const bench = benchOf('a', 'b');
    bench.do('a', reserve, { type: writeExclusive });
    const { invalidFieldInCdb } = Asc;
    const odd = { serviceActionKey: keyOf('a'), type: 2 };
    expect(bench.send('b', action, odd)).toEqual(refusal(invalidFieldInCdb));
  });
});

describe('what a reservation leaves', () => {
  it.each(ALL_TYPES)('of type %i: the holder, who is registered, who is not', (type) => {
    const bench = benchOf('a', 'b');
    const access = () =>
      ['a', 'b', 'c'].map((name) => accessOf(bench.state, portKeyOf(portOf(name))));
    const { everything, reading, status } = NexusAccess;
    expect(access()).toEqual([everything, everything, everything]);
    bench.do('a', reserve, { type });
    const isWriteExclusive = [
      writeExclusive,
      writeExclusiveRegistrantsOnly,
      writeExclusiveAllRegistrants,
    ].includes(type as never);
    const left = isWriteExclusive ? reading : status;
    expect(access()).toEqual([everything, isForRegistrants(type) ? everything : left, left]);
  });
});

describe('any sequence of service actions', () => {
  const names = ['a', 'b', 'c', 'd'];
  const step = fc.record({
    name: fc.constantFrom(...names),
    action: fc.constantFrom(...Object.values(PersistentReserveOut)),
    key: fc.constantFrom('own', ...names, '0'),
    serviceActionKey: fc.constantFrom(...names, '0'),
    type: fc.integer({ min: 0, max: 9 }),
    persists: fc.boolean(),
  });

  it('leaves a reservation only with who is registered, and changes nothing unless it succeeds', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const bench = new Bench();
        for (const { name, action, key, serviceActionKey, type, persists } of steps) {
          const before = bench.state;
          const own = registrationOf(before, portKeyOf(portOf(name)));
          const outcome = bench.send(name, action, {
            key: key === 'own' ? (own?.key ?? NO_KEY) : keyOf(key),
            serviceActionKey: keyOf(serviceActionKey),
            type,
            persists,
          });
          if (outcome.kind !== 'done') continue;
          const { state, attentions, aborts } = outcome;
          bench.state = state;
          const { reservation, registrations } = state;
          const holders = registrations.filter(({ portKey }) => isHolder(state, portKey));
          expect(holders.length > 0).toBe(reservation !== null);
          if (reservation !== null && reservation.holder !== null) expect(holders).toHaveLength(1);
          expect(new Set(bench.registered).size).toBe(bench.registered.length);
          expect(registrations.every(({ key: each }) => each !== NO_KEY)).toBe(true);
          // Nobody is told of its own doing, and whoever lost its registration to another is told.
          const told = attentions.map(([portKey]) => nameOf(portKey));
          expect(told).not.toContain(name);
          const lost = before.registrations.filter(
            (each) => registrationOf(state, each.portKey) === undefined,
          );
          for (const { portKey } of lost) {
            if (nameOf(portKey) !== name) expect(told).toContain(nameOf(portKey));
          }
          if (action !== preemptAndAbort) expect(aborts).toEqual([]);
          const step = state.generation - before.generation;
          const counts = state !== before && action !== reserve && action !== release;
          expect(step).toBe(counts ? 1 : 0);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
