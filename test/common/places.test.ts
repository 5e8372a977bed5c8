import { describe, expect, it } from 'vitest';
import { Places } from '../../src/common/places.js';

interface Guest {
  readonly name: string;
  readonly peerHost: string;
}

const guest = (name: string, peerHost = ''): Guest => ({ name, peerHost });
const namesOf = (places: Places<Guest>): string[] => [...places].map(({ name }) => name);

describe('places', () => {
  it('go from the longest silent one to the newcomer', () => {
    const places = new Places<Guest>({ placesMax: 3, placesPerHostMax: 3 });
    const [first, second, third] = [guest('first'), guest('second'), guest('third')];
    for (const each of [first, second, third]) expect(places.take(each)).toBeNull();
    places.heard(first);
    expect(places.take(guest('fourth'))).toBe(second);
    expect(places.take(guest('fifth'))).toBe(third);
    expect(namesOf(places)).toEqual(['first', 'fourth', 'fifth']);
  });

  it('of one host go round within it, so that the others keep theirs', () => {
    const places = new Places<Guest>({ placesMax: 10, placesPerHostMax: 2 });
    places.take(guest('quiet', 'far'));
    places.take(guest('a', 'near'));
    places.take(guest('b', 'near'));
    for (let count = 0; count < 100; count++) {
      const displaced = places.take(guest(`n${count}`, 'near'));
      expect(displaced?.peerHost).toBe('near');
    }
    expect(namesOf(places)).toEqual(['quiet', 'n98', 'n99']);
  });

  it('are not counted by host for those from nowhere', () => {
    const places = new Places<Guest>({ placesMax: 3, placesPerHostMax: 1 });
    for (const name of ['a', 'b', 'c']) expect(places.take(guest(name))).toBeNull();
    expect(places.count).toBe(3);
  });

  it('are free again when their holder leaves; one that has none is not given one by being heard', () => {
    const places = new Places<Guest>({ placesMax: 1, placesPerHostMax: 1 });
    const one = guest('one', 'near');
    places.take(one);
    places.leave(one);
    places.heard(one);
    expect(places.count).toBe(0);
    expect(places.take(guest('two', 'near'))).toBeNull();
  });
});
