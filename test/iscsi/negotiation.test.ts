import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IserNbdError } from '../../src/common/errors.js';
import { KEY_NAMES, KEY_RULES, parseNumber } from '../../src/iscsi/keys.js';
import type { KeyWishes } from '../../src/iscsi/keys.js';
import { KeyNegotiation } from '../../src/iscsi/negotiation.js';
import type { TextPair } from '../../src/iscsi/text.js';

function pair(key: string, value: string): TextPair {
  return { key, value };
}

/** What a target with `wishes` answers to one offer. */
function answerOf(key: string, value: string, wishes: KeyWishes = {}): string | undefined {
  return new KeyNegotiation('target', wishes).receive([pair(key, value)])[0]?.value;
}

/** An initiator that offered `wishes`. */
function offering(wishes: KeyWishes): KeyNegotiation {
  const negotiation = new KeyNegotiation('initiator', wishes);
  negotiation.offers();
  return negotiation;
}

describe('answers to offers, by the type of the key', () => {
  it.each([
    ['MaxBurstLength', '1000', { MaxBurstLength: 2000 }, '1000'],
    ['MaxBurstLength', '3000', { MaxBurstLength: 2000 }, '2000'],
    ['MaxBurstLength', '0x1000', {}, '4096'],
    ['DefaultTime2Wait', '1', { DefaultTime2Wait: 5 }, '5'],
    ['ImmediateData', 'Yes', { ImmediateData: true }, 'Yes'],
    ['ImmediateData', 'Yes', { ImmediateData: false }, 'No'],
    ['ImmediateData', 'No', { ImmediateData: true }, 'No'],
    ['InitialR2T', 'No', { InitialR2T: false }, 'No'],
    ['InitialR2T', 'No', {}, 'Yes'],
    ['InitialR2T', 'Yes', { InitialR2T: false }, 'Yes'],
    ['HeaderDigest', 'CRC32C,None', { HeaderDigest: ['None'] }, 'None'],
    ['RDMAExtensions', 'Yes', {}, 'No'],
    ['RDMAExtensions', 'Yes', { RDMAExtensions: true }, 'Yes'],
  ] as const)('%s=%s with %j on our side is answered %s', (key, value, wishes, answer) => {
    expect(answerOf(key, value, wishes)).toBe(answer);
  });

  it.each([
    ['TargetRecvDataSegmentLength', '511'],
    ['MaxBurstLength', '16777216'],
    ['MaxBurstLength', '-1'],
    ['MaxBurstLength', '1e3'],
    ['MaxBurstLength', ''],
    ['ErrorRecoveryLevel', '3'],
    ['ImmediateData', 'yes'],
    ['HeaderDigest', 'CRC32C'],
  ])('%s=%s is rejected, and the target knows that it rejected it', (key, value) => {
    const negotiation = new KeyNegotiation('target', {});
    expect(negotiation.receive([pair(key, value)])).toEqual([pair(key, 'Reject')]);
    expect(negotiation.rejected).toEqual([key]);
  });

  it('does not understand keys that it does not know', () => {
    expect(answerOf('X-com.example.Speed', 'Fast')).toBe('NotUnderstood');
    expect(answerOf('IFMarker', 'No')).toBe('NotUnderstood');
  });

  it('says that keys are irrelevant in a discovery session', () => {
    const negotiation = new KeyNegotiation('target', {}, 'Discovery');
    expect(negotiation.receive([pair('MaxBurstLength', '512')])[0]?.value).toBe('Irrelevant');
    expect(negotiation.receive([pair('DefaultTime2Wait', '2')])[0]?.value).toBe('2');
  });

  it('says that the iSER keys are irrelevant without RDMAExtensions, wherever that stands', () => {
    const negotiation = new KeyNegotiation('target', { RDMAExtensions: false });
    const answers = negotiation.receive([
      pair('TargetRecvDataSegmentLength', '8192'),
      pair('RDMAExtensions', 'Yes'),
    ]);
    expect(answers).toContainEqual(pair('TargetRecvDataSegmentLength', 'Irrelevant'));
    expect(answers).toContainEqual(pair('RDMAExtensions', 'No'));
  });
});

describe('declarations', () => {
  it('are kept and not answered', () => {
    const negotiation = new KeyNegotiation('target', {});
    const answers = negotiation.receive([
      pair('InitiatorName', 'iqn.2026-11.io.example:host'),
      pair('MaxRecvDataSegmentLength', '4096'),
      pair('iSERHelloRequired', 'No'),
    ]);
    expect(answers).toEqual([]);
    expect(negotiation.declared).toEqual({
      InitiatorName: 'iqn.2026-11.io.example:host',
      MaxRecvDataSegmentLength: 4096,
      iSERHelloRequired: false,
    });
  });

  it('come from the side that owns them', () => {
    expect(() => answerOf('TargetAlias', 'x')).toThrow(/not the peer's/);
    expect(() => offering({}).receive([pair('InitiatorName', 'iqn')])).toThrow(/not the peer's/);
  });

  it('must be values of their key', () => {
    expect(() => answerOf('MaxRecvDataSegmentLength', '100')).toThrow(/not a value/);
  });

  it('may be answered by a peer that does not know the key', () => {
    const negotiation = offering({ MaxAHSLength: 0 });
    expect(negotiation.receive([pair('MaxAHSLength', 'NotUnderstood')])).toEqual([]);
  });

  it('are all that a target sends unasked', () => {
    const negotiation = new KeyNegotiation('target', {
      TargetPortalGroupTag: 1,
      MaxBurstLength: 512,
    });
    expect(negotiation.offers()).toEqual([pair('TargetPortalGroupTag', '1')]);
    expect(negotiation.offers()).toEqual([]);
  });
});

describe('the initiator', () => {
  it('offers in the order of the table, RDMAExtensions first, each key once', () => {
    const negotiation = new KeyNegotiation('initiator', {
      HeaderDigest: ['CRC32C', 'None'],
      RDMAExtensions: true,
      MaxConnections: 1,
    });
    expect(negotiation.offers()).toEqual([
      pair('RDMAExtensions', 'Yes'),
      pair('HeaderDigest', 'CRC32C,None'),
      pair('MaxConnections', '1'),
    ]);
    expect(negotiation.offers()).toEqual([]);
  });

  it('offers nothing that is irrelevant in a discovery session', () => {
    const wishes = { RDMAExtensions: true, ImmediateData: true, MaxBurstLength: 512 };
    expect(new KeyNegotiation('initiator', wishes, 'Discovery').offers()).toEqual([
      pair('RDMAExtensions', 'Yes'),
    ]);
  });

  it.each([
    ['a larger minimum', { MaxBurstLength: 1000 }, 'MaxBurstLength', '1001'],
    ['a smaller maximum', { DefaultTime2Wait: 5 }, 'DefaultTime2Wait', '4'],
    ['Yes to the AND of a No', { ImmediateData: false }, 'ImmediateData', 'Yes'],
    ['No to the OR of a Yes', { InitialR2T: true }, 'InitialR2T', 'No'],
    ['a list value not offered', { HeaderDigest: ['None'] }, 'HeaderDigest', 'CRC32C'],
    ['two list values', { HeaderDigest: ['CRC32C', 'None'] }, 'HeaderDigest', 'CRC32C,None'],
    ['no number', { MaxBurstLength: 1000 }, 'MaxBurstLength', 'many'],
  ])('refuses %s', (_, wishes, key, value) => {
    expect(() => offering(wishes).receive([pair(key, value)])).toThrow(/answered/);
  });

  it('reports a rejected offer with its value', () => {
    const negotiation = offering({ MaxBurstLength: 1000 });
    expect(() => negotiation.receive([pair('MaxBurstLength', 'Reject')])).toThrow(
      expect.objectContaining({ code: 'iscsi-key-rejected' }),
    );
  });

  it('takes the default of what the target finds irrelevant or does not understand', () => {
    const negotiation = offering({ MaxBurstLength: 1000, MaxConnections: 4 });
    negotiation.receive([
      pair('MaxBurstLength', 'NotUnderstood'),
      pair('MaxConnections', 'Irrelevant'),
    ]);
    expect(negotiation.values).toMatchObject({ MaxBurstLength: 262144, MaxConnections: 1 });
  });

  it('refuses answers to what it did not offer, and the same key twice', () => {
    expect(() => offering({}).receive([pair('X-key', 'NotUnderstood')])).toThrow(/not offered/);
    expect(() => offering({}).receive([pair('MaxBurstLength', 'Irrelevant')])).toThrow(
      /not offered/,
    );
    const negotiation = offering({ MaxBurstLength: 1000 });
    negotiation.receive([pair('MaxBurstLength', '512')]);
    expect(() => negotiation.receive([pair('MaxBurstLength', '512')])).toThrow(/came twice/);
  });

  it('answers what the target offers', () => {
    expect(offering({}).receive([pair('MaxConnections', '8')])).toEqual([
      pair('MaxConnections', '1'),
    ]);
  });

  it('names the offers that were not answered, but not those whose result is certain', () => {
    const negotiation = offering({ InitialR2T: true, ImmediateData: true, MaxConnections: 1 });
    expect(negotiation.unanswered).toEqual(['MaxConnections', 'ImmediateData']);
    negotiation.receive([pair('MaxConnections', '1'), pair('ImmediateData', 'No')]);
    expect(negotiation.unanswered).toEqual([]);
    negotiation.settleImplied();
    expect(negotiation.isSettled('InitialR2T')).toBe(true);
    expect(negotiation.values.InitialR2T).toBe(true);
  });
});

describe('both sides together', () => {
  const size = fc.integer({ min: 512, max: 2 ** 24 - 1 });
  const arbitraryWishes = fc.record({
    RDMAExtensions: fc.boolean(),
    ImmediateData: fc.boolean(),
    InitialR2T: fc.boolean(),
    MaxBurstLength: size,
    TargetRecvDataSegmentLength: size,
    DefaultTime2Wait: fc.nat(3600),
    HeaderDigest: fc.constantFrom(['None'], ['CRC32C', 'None'], ['None', 'CRC32C']),
  });

  it('agree on every value, whatever each of them wishes', () => {
    fc.assert(
      fc.property(arbitraryWishes, arbitraryWishes, (ours, theirs) => {
        const initiator = new KeyNegotiation('initiator', ours);
        const target = new KeyNegotiation('target', theirs);
        expect(initiator.receive(target.receive(initiator.offers()))).toEqual([]);
        expect(initiator.unanswered).toEqual([]);
        expect(initiator.values).toEqual(target.values);
      }),
    );
  });

  it('end in answers or an operating error, whatever comes', () => {
    const key = fc.oneof(fc.constantFrom<string>(...KEY_NAMES), fc.string());
    const value = fc.oneof(
      fc.constantFrom('Yes', 'No', 'None', 'Reject', 'Irrelevant', 'NotUnderstood', '8192', ''),
      fc.string(),
    );
    const role = fc.constantFrom('initiator' as const, 'target' as const);
    fc.assert(
      fc.property(role, fc.array(fc.record({ key, value })), (side, pairs) => {
        const negotiation = new KeyNegotiation(side, {});
        negotiation.offers();
        try {
          for (const answer of negotiation.receive(pairs)) expect(answer.value).not.toBe('');
        } catch (error) {
          expect(error).toBeInstanceOf(IserNbdError);
        }
      }),
    );
  });
});

describe('the table of keys', () => {
  it('has defaults within their ranges', () => {
    for (const key of KEY_NAMES) {
      const rule = KEY_RULES[key];
      if (rule.type !== 'number') continue;
      expect(rule.initial).toBeGreaterThanOrEqual(rule.low);
      expect(rule.initial).toBeLessThanOrEqual(rule.high);
    }
  });

  it('reads numbers as RFC 7143 writes them', () => {
    expect(['0', '12', '0x1F', '4294967295'].map(parseNumber)).toEqual([0, 12, 31, 2 ** 32 - 1]);
    expect(['', '01', '+1', '1.0', '0x', '4294967296', ' 1'].map(parseNumber)).toEqual(
      new Array(7).fill(null),
    );
  });
});
