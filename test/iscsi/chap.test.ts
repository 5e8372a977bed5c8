import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import {
  ChapError,
  ChapInitiator,
  ChapTarget,
  chapResponse,
  checkChapCredentials,
  decodeBinary,
  encodeBinary,
} from '../../src/iscsi/chap.js';
import { CHAP_ALGORITHMS, ChapAlgorithm } from '../../src/iscsi/chap-algorithm.js';
import { pairsByKey } from '../../src/iscsi/text.js';
import type { TextPair } from '../../src/iscsi/text.js';

const SECRET = Buffer.from('correct-horse-42');
const TARGET_SECRET = Buffer.from('battery-staple-7');
const oneWay = { user: 'host', secret: SECRET };
const mutual = { ...oneWay, mutual: { user: 'array', secret: TARGET_SECRET } };

function target(options: Partial<ConstructorParameters<typeof ChapTarget>[0]> = {}): ChapTarget {
  return new ChapTarget({
    secretOf: (user) => (user === 'host' ? SECRET : null),
    mutual: { user: 'array', secret: TARGET_SECRET },
    randomBytes,
    ...options,
  });
}

function keys(
  pairs: readonly TextPair[],
  changes: Record<string, string> = {},
): Map<string, string> {
  return new Map([...pairsByKey(pairs), ...Object.entries(changes)]);
}

/** Runs the exchange up to the initiator's response. */
function exchange(initiator: ChapInitiator, from: ChapTarget): TextPair[] {
  return initiator.respond(keys(from.challenge(keys(initiator.start()))));
}

describe('CHAP responses', () => {
  it.each([
    [ChapAlgorithm.md5, 'e67b0bf18b26756f53c68c6e995c6143'],
    [ChapAlgorithm.sha1, '0faccc2dcfb1849c28ec020d7e49ddf6a2ab4ea3'],
    [ChapAlgorithm.sha256, '51da283b2b1803827b8b57f0abd5274d3dd04dde2561a1d0b6499684e644b5a6'],
    [ChapAlgorithm.sha3, 'bbdc7c28f964e73f7c3c460e3bd244bb4c01da1ad2d2a1f5af79623fa0fcf7e7'],
  ])('of algorithm %i are the hash of identifier, secret and challenge', (algorithm, digest) => {
    const challenge = Uint8Array.from({ length: 16 }, (_, index) => index);
    const response = chapResponse(algorithm, 0x27, SECRET, challenge);
    expect(Buffer.from(response).toString('hex')).toBe(digest);
  });

  it('are offered strongest first', () => {
    const [offer] = new ChapInitiator(oneWay, randomBytes).start();
    expect(offer).toEqual({ key: 'CHAP_A', value: '8,7,6,5' });
  });
});

describe.each(CHAP_ALGORITHMS)('CHAP with algorithm %i', (algorithm) => {
  it('proves the initiator', () => {
    const initiator = new ChapInitiator(oneWay, randomBytes);
    const side = target({ algorithms: [algorithm] });
    const response = keys(exchange(initiator, side));
    expect(initiator.wantsProof).toBe(false);
    expect(side.verify(response)).toEqual({ user: 'host', proof: [] });
    const other = target({ algorithms: [algorithm] });
    expect(() => other.verify(response)).toThrow(ChapError);
  });

  it('proves both sides', () => {
    const initiator = new ChapInitiator({ ...mutual, algorithms: [algorithm] }, randomBytes);
    const side = target();
    const { user, proof } = side.verify(keys(exchange(initiator, side)));
    expect(user).toBe('host');
    expect(initiator.wantsProof).toBe(true);
    initiator.checkProof(keys(proof));
    expect(initiator.wantsProof).toBe(false);
  });

  it('tells secrets apart that are the same as text', () => {
    const good = Buffer.from('9cff804141424344454647ff', 'hex');
    const wrong = Buffer.from('9dfe814141424344454647fe', 'hex');
    expect(good.toString()).toBe(wrong.toString());
    const side = target({ algorithms: [algorithm], secretOf: () => good });
    const initiator = new ChapInitiator({ user: 'host', secret: wrong }, randomBytes);
    expect(() => side.verify(keys(exchange(initiator, side)))).toThrow(ChapError);
    const again = target({ algorithms: [algorithm], secretOf: () => good });
    const right = new ChapInitiator({ user: 'host', secret: good }, randomBytes);
    expect(again.verify(keys(exchange(right, again))).user).toBe('host');
  });

  it('refuses a wrong secret from either side', () => {
    const wrong = new ChapInitiator(
      { user: 'host', secret: Buffer.from('wrong-horse-4242') },
      randomBytes,
    );
    const side = target({ algorithms: [algorithm] });
    expect(() => side.verify(keys(exchange(wrong, side)))).toThrow(
      expect.objectContaining({ code: 'chap-refused' }),
    );
    const initiator = new ChapInitiator({ ...mutual, algorithms: [algorithm] }, randomBytes);
    const impostor = target({ mutual: { user: 'array', secret: Buffer.from('something-else') } });
    const { proof } = impostor.verify(keys(exchange(initiator, impostor)));
    expect(() => initiator.checkProof(keys(proof))).toThrow(
      expect.objectContaining({ code: 'chap-refused' }),
    );
  });
});

describe('the target', () => {
  it('takes the strongest algorithm that both know, whatever order it is offered in', () => {
    expect(keys(target().challenge(new Map([['CHAP_A', '5,7,6']]))).get('CHAP_A')).toBe('7');
  });

  it('refuses an offer without a known algorithm', () => {
    for (const offer of ['', '9', '55', 'MD5']) {
      expect(() => target().challenge(new Map([['CHAP_A', offer]]))).toThrow(
        expect.objectContaining({ code: 'chap-algorithm' }),
      );
    }
  });

  it('refuses an unknown user', () => {
    const side = target();
    const response = exchange(new ChapInitiator({ ...oneWay, user: 'guest' }, randomBytes), side);
    expect(() => side.verify(keys(response))).toThrow(
      expect.objectContaining({ code: 'chap-refused' }),
    );
  });

  it('takes one response per challenge', () => {
    const side = target();
    const response = keys(exchange(new ChapInitiator(oneWay, randomBytes), side));
    side.verify(response);
    expect(() => side.verify(response)).toThrow(
      expect.objectContaining({ code: 'chap-malformed' }),
    );
  });

  it('does not answer its own challenge', () => {
    const side = target();
    const challenge = keys(side.challenge(new Map([['CHAP_A', '7']])));
    const initiator = new ChapInitiator(mutual, randomBytes);
    const response = keys(initiator.respond(challenge), { CHAP_C: challenge.get('CHAP_C')! });
    expect(() => side.verify(response)).toThrow(
      expect.objectContaining({ code: 'chap-reflection' }),
    );
  });

  it('refuses to prove itself without a secret of its own', () => {
    const side = target({ mutual: undefined });
    const response = exchange(new ChapInitiator(mutual, randomBytes), side);
    expect(() => side.verify(keys(response))).toThrow(
      expect.objectContaining({ code: 'chap-no-mutual' }),
    );
  });
});

describe('the initiator', () => {
  it('refuses an algorithm that it did not offer', () => {
    const challenge = keys(target().challenge(new Map([['CHAP_A', '5']])));
    const initiator = new ChapInitiator(
      { ...oneWay, algorithms: [ChapAlgorithm.sha256] },
      randomBytes,
    );
    expect(() => initiator.respond(challenge)).toThrow(
      expect.objectContaining({ code: 'chap-algorithm' }),
    );
  });

  it('refuses its own response as the proof of the target', () => {
    const initiator = new ChapInitiator(mutual, randomBytes);
    const response = keys(exchange(initiator, target()));
    const proof = new Map([
      ['CHAP_N', 'array'],
      ['CHAP_R', response.get('CHAP_R')!],
    ]);
    expect(() => initiator.checkProof(proof)).toThrow(
      expect.objectContaining({ code: 'chap-reflection' }),
    );
  });

  it('does not send the target its own challenge back, even when random repeats', () => {
    const same = (length: number): Uint8Array => new Uint8Array(length).fill(7);
    const side = target({ randomBytes: same });
    const initiator = new ChapInitiator(mutual, same);
    expect(() => exchange(initiator, side)).toThrow(
      expect.objectContaining({ code: 'chap-reflection' }),
    );
  });

  it('misses the proof of a target that sends none', () => {
    const initiator = new ChapInitiator(mutual, randomBytes);
    exchange(initiator, target());
    expect(() => initiator.checkProof(new Map())).toThrow(
      expect.objectContaining({ code: 'chap-no-mutual' }),
    );
  });

  it.each([
    ['CHAP_I', '256'],
    ['CHAP_I', '-1'],
    ['CHAP_I', ''],
    ['CHAP_C', ''],
    ['CHAP_C', '0x'],
    ['CHAP_C', '0x123'],
    ['CHAP_C', 'plain'],
    ['CHAP_C', `0x${'00'.repeat(1025)}`],
  ])('refuses %s=%s', (key, value) => {
    const challenge = keys(target().challenge(new Map([['CHAP_A', '7']])), { [key]: value });
    expect(() => new ChapInitiator(oneWay, randomBytes).respond(challenge)).toThrow(
      expect.objectContaining({ code: 'chap-malformed' }),
    );
  });

  it('keeps secrets, challenges and responses out of its errors', () => {
    const initiator = new ChapInitiator(mutual, randomBytes);
    const response = keys(exchange(initiator, target()));
    try {
      initiator.checkProof(
        new Map([
          ['CHAP_N', 'x'],
          ['CHAP_R', '0x00'],
        ]),
      );
      expect.unreachable();
    } catch (error) {
      const text = `${(error as Error).message} ${JSON.stringify(error)}`;
      for (const hidden of [
        SECRET.toString(),
        TARGET_SECRET.toString(),
        response.get('CHAP_R')!,
        response.get('CHAP_C')!,
      ]) {
        expect(text).not.toContain(hidden);
      }
    }
  });
});

describe('credentials', () => {
  it.each([
    ['a short secret', { user: 'host', secret: Buffer.from('short') }],
    ['a secret of 256 bytes', { user: 'host', secret: Buffer.alloc(256, 'x') }],
    ['no user', { user: '', secret: SECRET }],
    [
      'a short mutual secret',
      { ...oneWay, mutual: { user: 'array', secret: Buffer.from('short') } },
    ],
    ['the same secret for both', { ...oneWay, mutual: { user: 'array', secret: SECRET } }],
  ])('must not have %s', (_, credentials) => {
    expect(() => checkChapCredentials(credentials)).toThrow(ConfigError);
    expect(() => checkChapCredentials(credentials)).not.toThrow(credentials.secret.toString());
  });

  it('may have secrets of 12 bytes', () => {
    const secret = Buffer.from('123456789012');
    expect(() => checkChapCredentials({ user: 'host', secret })).not.toThrow();
  });

  it('have the length of their bytes, not of their characters', () => {
    const eleven = Buffer.from('üüüüü1');
    expect(() => checkChapCredentials({ user: 'host', secret: eleven })).toThrow(/has 11 bytes/);
    const twelve = Buffer.from('üüüüüü');
    expect(() => checkChapCredentials({ user: 'host', secret: twelve })).not.toThrow();
  });
});

describe('binary values', () => {
  it('come in hexadecimal and in base64', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 1024 }), (bytes) => {
        const base64 = `0b${Buffer.from(bytes).toString('base64')}`;
        expect(Buffer.compare(decodeBinary(encodeBinary(bytes))!, bytes)).toBe(0);
        expect(Buffer.compare(decodeBinary(base64)!, bytes)).toBe(0);
      }),
    );
  });

  it('are refused in any other form', () => {
    for (const text of ['0x0g', '0b@@@@', '0bAAA', '12', '0b', '0B====']) {
      expect(decodeBinary(text)).toBeNull();
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(decodeBinary(text)?.length ?? 1).toBeGreaterThan(0);
      }),
    );
  });
});
