import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/common/errors.js';
import { ChapInitiator } from '../../../src/iscsi/chap.js';
import { LoginStatus } from '../../../src/iscsi/codes.js';
import { LOGIN_EXCHANGES_MAX } from '../../../src/iscsi/limits.js';
import { encodeText } from '../../../src/iscsi/text.js';
import { LoginResponder } from '../../../src/target/session/login.js';
import { checkLoginPolicy } from '../../../src/target/session/login-policy.js';
import type { LoginPolicy } from '../../../src/target/session/login-policy.js';
import {
  LAB,
  LoginBed,
  OFFER,
  WHO,
  countingBytes,
  openPolicy,
} from '../../support/target/login.js';

const SECURITY = { currentStage: 0 };
const OPERATIONAL = { currentStage: 1 };
const TO_FULL = { transit: true, nextStage: 3 };
const TO_OPERATIONAL = { transit: true, nextStage: 1 };

const chapPolicy: LoginPolicy = {
  ...openPolicy,
  chap: { user: 'alice', secret: Buffer.from('initiator-secret') },
};
const mutualPolicy: LoginPolicy = {
  ...openPolicy,
  chap: {
    user: 'alice',
    secret: Buffer.from('initiator-secret'),
    mutual: { user: 'lab', secret: Buffer.from('the-target-secret') },
  },
};

describe('a login without authentication', () => {
  it('goes straight to full feature phase from the operational stage', () => {
    const bed = new LoginBed();
    const { outcome, keys } = bed.send({ ...OPERATIONAL, ...TO_FULL }, { ...WHO, ...OFFER });
    expect(outcome).toBe('accepted');
    expect(Object.fromEntries(keys)).toEqual({
      RDMAExtensions: 'Yes',
      HeaderDigest: 'None',
      DataDigest: 'None',
      MaxConnections: '1',
      InitialR2T: 'Yes',
      ImmediateData: 'Yes',
      MaxBurstLength: '262144',
      FirstBurstLength: '65536',
      DefaultTime2Wait: '2',
      DefaultTime2Retain: '0',
      MaxOutstandingR2T: '1',
      DataPDUInOrder: 'Yes',
      DataSequenceInOrder: 'Yes',
      ErrorRecoveryLevel: '0',
      InitiatorRecvDataSegmentLength: '8192',
      TargetRecvDataSegmentLength: '8192',
      TargetPortalGroupTag: '1',
    });
    bed.responder.finish(77);
    const { response, identity, values } = bed.responder;
    expect(response).toMatchObject({
      transit: true,
      currentStage: 1,
      nextStage: 3,
      tsih: 77,
      statSn: 900,
      expCmdSn: 100,
      maxCmdSn: 227,
      statusClass: 0,
    });
    expect(bed.responder.nextStatSn).toBe(901);
    expect(identity).toMatchObject({ initiatorName: WHO.InitiatorName, isidHigh: 0x1234 });
    expect(values).toMatchObject({ ImmediateData: true, FirstBurstLength: 65_536 });
  });

  it('goes through the security stage when the initiator wants to', () => {
    const bed = new LoginBed();
    const first = bed.send({ ...SECURITY, ...TO_OPERATIONAL }, { ...WHO, AuthMethod: 'CHAP,None' });
    expect(first.outcome).toBe('continue');
    expect(first.keys.get('AuthMethod')).toBe('None');
    expect(first.keys.get('TargetPortalGroupTag')).toBe('1');
    expect(bed.responder.response).toMatchObject({ transit: true, nextStage: 1, statSn: 900 });
    const second = bed.send({ ...OPERATIONAL, ...TO_FULL }, OFFER);
    expect(second.outcome).toBe('accepted');
    expect(second.keys.has('TargetPortalGroupTag')).toBe(false);
  });

  it('goes from the security stage to full feature phase in one step', () => {
    const { outcome } = new LoginBed().send({ ...SECURITY, ...TO_FULL }, { ...WHO, ...OFFER });
    expect(outcome).toBe('accepted');
  });

  it('knows its name in whatever case, and minds no alias', () => {
    const bed = new LoginBed();
    const alias = encodeText([{ key: 'InitiatorAlias', value: 'B' }], 8192);
    alias.set([0xff], alias.length - 2);
    const who = { ...WHO, TargetName: LAB.toUpperCase(), ...OFFER };
    const text = encodeText(
      Object.entries(who).map(([key, value]) => ({ key, value })),
      8192,
    );
    const { outcome } = bed.sendBytes({ ...OPERATIONAL, ...TO_FULL }, Buffer.concat([text, alias]));
    expect(outcome).toBe('accepted');
  });

  it('takes text that comes in several PDUs, cut anywhere', () => {
    const pairs = Object.entries({ ...WHO, ...OFFER }).map(([key, value]) => ({ key, value }));
    const text = encodeText(pairs, 8192);
    fc.assert(
      fc.property(fc.nat(text.length), fc.nat(text.length), (one, other) => {
        const bed = new LoginBed();
        const [from, to] = [Math.min(one, other), Math.max(one, other)];
        for (const piece of [text.subarray(0, from), text.subarray(from, to)]) {
          const answer = bed.sendBytes({ ...OPERATIONAL, continues: true }, piece);
          expect(answer).toMatchObject({ outcome: 'continue', status: 0 });
          expect(answer.keys.size).toBe(0);
        }
        const { outcome } = bed.sendBytes({ ...OPERATIONAL, ...TO_FULL }, text.subarray(to));
        expect(outcome).toBe('accepted');
      }),
    );
  });

  it('answers the marker keys of old, as it must', () => {
    const markers = { IFMarker: 'No', OFMarker: 'No', IFMarkInt: '2048~65535' };
    const { keys } = new LoginBed().send(
      { ...OPERATIONAL, ...TO_FULL },
      { ...WHO, ...OFFER, ...markers },
    );
    expect([keys.get('IFMarker'), keys.get('OFMarker')]).toEqual(['No', 'No']);
    expect(keys.get('IFMarkInt')).toBe('Reject');
  });

  it('says NotUnderstood to keys that nobody knows, and Irrelevant in discovery', () => {
    const bed = new LoginBed();
    const answer = bed.send(
      { ...OPERATIONAL, ...TO_FULL },
      {
        InitiatorName: WHO.InitiatorName,
        SessionType: 'Discovery',
        'X-com.example.key': '1',
        MaxBurstLength: '1024',
      },
    );
    expect(answer.outcome).toBe('accepted');
    expect(Object.fromEntries(answer.keys)).toEqual({
      'X-com.example.key': 'NotUnderstood',
      MaxBurstLength: 'Irrelevant',
    });
  });
});

describe('a login with CHAP', () => {
  const login = (policy: LoginPolicy, initiator: ChapInitiator) => {
    const bed = new LoginBed(policy);
    const chosen = bed.send(SECURITY, { ...WHO, AuthMethod: 'CHAP,None' });
    expect(chosen).toMatchObject({ outcome: 'continue', status: 0 });
    expect(chosen.keys.get('AuthMethod')).toBe('CHAP');
    const challenge = bed.send(SECURITY, pairs(initiator.start()));
    expect(challenge).toMatchObject({ outcome: 'continue', status: 0 });
    expect(challenge.keys.get('CHAP_A')).toBe('8');
    return { bed, response: pairs(initiator.respond(challenge.keys)) };
  };
  const pairs = (list: readonly { key: string; value: string }[]) =>
    Object.fromEntries(list.map(({ key, value }) => [key, value]));
  const alice = { user: 'alice', secret: Buffer.from('initiator-secret') };

  it('lets in who proves the secret', () => {
    const { bed, response } = login(chapPolicy, new ChapInitiator(alice, countingBytes));
    const proved = bed.send({ ...SECURITY, ...TO_OPERATIONAL }, response);
    expect(proved).toMatchObject({ outcome: 'continue', status: 0 });
    expect(bed.responder.response.transit).toBe(true);
    expect(bed.send({ ...OPERATIONAL, ...TO_FULL }, OFFER).outcome).toBe('accepted');
  });

  it('proves itself when it is asked to', () => {
    const mutual = { user: 'lab', secret: Buffer.from('the-target-secret') };
    const initiator = new ChapInitiator({ ...alice, mutual }, countingBytes);
    const { bed, response } = login(mutualPolicy, initiator);
    const proved = bed.send({ ...SECURITY, ...TO_OPERATIONAL }, response);
    expect(proved.status).toBe(0);
    initiator.checkProof(proved.keys);
  });

  it.each([
    ['a wrong secret', { user: 'alice', secret: Buffer.from('a wrong one here') }, chapPolicy],
    ['an unknown user', { user: 'mallory', secret: Buffer.from('initiator-secret') }, chapPolicy],
    [
      'a wish for a proof that is not set up',
      { ...alice, mutual: { user: 'lab', secret: Buffer.from('the-target-secret') } },
      chapPolicy,
    ],
  ])('refuses %s with 0201', (_, credentials, policy) => {
    const { bed, response } = login(policy, new ChapInitiator(credentials, countingBytes));
    const answer = bed.send({ ...SECURITY, ...TO_OPERATIONAL }, response);
    expect(answer).toMatchObject({
      outcome: 'refused',
      status: LoginStatus.authenticationFailed,
    });
    expect(answer.keys.size).toBe(0);
    expect(bed.responder.reason).not.toContain('secret-');
  });

  it('does not let anybody leave the security stage before the proof', () => {
    const bed = new LoginBed(chapPolicy);
    const first = bed.send({ ...SECURITY, ...TO_FULL }, { ...WHO, AuthMethod: 'CHAP' });
    expect(first).toMatchObject({ outcome: 'continue', status: 0 });
    expect(bed.responder.response.transit).toBe(false);
    const skipped = bed.send({ ...OPERATIONAL, ...TO_FULL }, OFFER);
    expect(skipped).toMatchObject({ outcome: 'refused' });
  });

  it.each([
    ['starts in the operational stage', OPERATIONAL, { ...WHO, ...OFFER }],
    ['offers no CHAP', SECURITY, { ...WHO, AuthMethod: 'None' }],
    ['sends its response unasked', SECURITY, { ...WHO, CHAP_N: 'alice', CHAP_R: '0x00' }],
    ['sends CHAP_A unasked', SECURITY, { ...WHO, CHAP_A: '5' }],
  ])('refuses an initiator that %s with 0201', (_, stage, text) => {
    const answer = new LoginBed(chapPolicy).send({ ...stage, ...TO_FULL }, text);
    expect(answer).toMatchObject({ outcome: 'refused', status: LoginStatus.authenticationFailed });
  });

  it('refuses an initiator with an algorithm that is not known', () => {
    const bed = new LoginBed(chapPolicy);
    bed.send(SECURITY, { ...WHO, AuthMethod: 'CHAP' });
    const answer = bed.send(SECURITY, { CHAP_A: '99' });
    expect(answer).toMatchObject({ outcome: 'refused', status: LoginStatus.authenticationFailed });
  });

  it('refuses an initiator that insists on CHAP where there is none', () => {
    const answer = new LoginBed().send(SECURITY, { ...WHO, AuthMethod: 'CHAP' });
    expect(answer).toMatchObject({ outcome: 'refused', status: LoginStatus.authenticationFailed });
  });

  it('does not ask for it in a discovery session', () => {
    const bed = new LoginBed(chapPolicy);
    const { InitiatorName } = WHO;
    const discovery = { InitiatorName, SessionType: 'Discovery', RDMAExtensions: 'Yes' };
    expect(bed.send({ ...OPERATIONAL, ...TO_FULL }, discovery).outcome).toBe('accepted');
  });

  it('asks for it in a discovery session as well, if told to', () => {
    const policy = { ...chapPolicy, discoveryAuth: true };
    const { InitiatorName } = WHO;
    const discovery = { InitiatorName, SessionType: 'Discovery', RDMAExtensions: 'Yes' };
    const skipped = new LoginBed(policy).send({ ...OPERATIONAL, ...TO_FULL }, discovery);
    expect([skipped.outcome, skipped.status]).toEqual([
      'refused',
      LoginStatus.authenticationFailed,
    ]);
    const without = { InitiatorName, SessionType: 'Discovery', AuthMethod: 'None' };
    expect(new LoginBed(policy).send(SECURITY, without).outcome).toBe('refused');
    const bed = new LoginBed(policy);
    const offer = { InitiatorName, SessionType: 'Discovery', AuthMethod: 'CHAP,None' };
    expect(bed.send(SECURITY, offer).keys.get('AuthMethod')).toBe('CHAP');
    const prover = new ChapInitiator(alice, countingBytes);
    const { keys } = bed.send(SECURITY, pairs(prover.start()));
    const proved = bed.send({ ...SECURITY, ...TO_FULL }, pairs(prover.respond(keys)));
    expect(proved.outcome).toBe('accepted');
  });

  it('lets an initiator prove itself in a discovery session if it wants to', () => {
    const initiator = new ChapInitiator(alice, countingBytes);
    const bed = new LoginBed(chapPolicy);
    const who = { InitiatorName: WHO.InitiatorName, SessionType: 'Discovery' };
    bed.send(SECURITY, { ...who, AuthMethod: 'CHAP' });
    const { keys } = bed.send(SECURITY, pairs(initiator.start()));
    const proved = bed.send({ ...SECURITY, ...TO_FULL }, pairs(initiator.respond(keys)));
    expect(proved.outcome).toBe('accepted');
  });
});

describe('a login is refused with', () => {
  const refuse = (
    fields: object,
    text: Record<string, string>,
    status: number,
    policy = openPolicy,
    sessions: number[] = [],
  ) => {
    const bed = new LoginBed(policy, sessions);
    const answer = bed.send({ ...OPERATIONAL, ...TO_FULL, ...fields }, text);
    expect(answer).toMatchObject({ outcome: 'refused', status });
    expect(bed.responder.reason).not.toBe('');
    expect(bed.responder.response).toMatchObject({ transit: false, statSn: 900 });
    return answer;
  };
  const all = { ...WHO, ...OFFER };
  const without = (key: string) =>
    Object.fromEntries(Object.entries(all).filter(([name]) => name !== key));

  it('0203 for a target that does not exist', () => {
    refuse({}, { ...all, TargetName: `${LAB}2` }, LoginStatus.targetNotFound);
  });

  it('0205 for a version that does not exist', () => {
    refuse({ versionMax: 2, versionMin: 1 }, all, LoginStatus.unsupportedVersion);
  });

  it('0207 for a missing name', () => {
    refuse({}, without('InitiatorName'), LoginStatus.missingParameter);
    refuse({}, without('TargetName'), LoginStatus.missingParameter);
    refuse({}, {}, LoginStatus.missingParameter);
  });

  it('0209 for a session type that does not exist', () => {
    refuse({}, { ...all, SessionType: 'Odd' }, LoginStatus.sessionTypeNotSupported);
  });

  it('020a and 0206 for a session handle, depending on whether the session exists', () => {
    refuse({ tsih: 9 }, all, LoginStatus.sessionDoesNotExist);
    refuse({ tsih: 9 }, all, LoginStatus.tooManyConnections, openPolicy, [9]);
  });

  it('0200 for an initiator that does not want iSER', () => {
    refuse({}, without('RDMAExtensions'), LoginStatus.initiatorError);
    refuse({}, { ...all, RDMAExtensions: 'No' }, LoginStatus.initiatorError);
    refuse(
      {},
      { InitiatorName: 'i', SessionType: 'Discovery', RDMAExtensions: 'No' },
      LoginStatus.initiatorError,
    );
  });

  it('0200 for digests, and values out of range', () => {
    refuse({}, { ...all, HeaderDigest: 'CRC32C' }, LoginStatus.initiatorError);
    refuse({}, { ...all, MaxBurstLength: '1' }, LoginStatus.initiatorError);
    refuse({}, { ...all, ImmediateData: 'Maybe' }, LoginStatus.initiatorError);
  });

  it('0200 for keys of the target, of another stage, or twice', () => {
    refuse({}, { ...all, TargetAlias: 'me' }, LoginStatus.initiatorError);
    refuse({}, { ...all, AuthMethod: 'None' }, LoginStatus.initiatorError);
    const bed = new LoginBed();
    const twice = new TextEncoder().encode('InitiatorName=a\0InitiatorName=b\0');
    expect(bed.sendBytes(OPERATIONAL, twice).status).toBe(LoginStatus.initiatorError);
  });

  it('0200 for text that is none, or a name that is too long', () => {
    const send = (data: Uint8Array) => new LoginBed().sendBytes(OPERATIONAL, data).status;
    expect(send(Uint8Array.of(0xff, 0xfe, 0))).toBe(LoginStatus.initiatorError);
    expect(send(new TextEncoder().encode('InitiatorName'))).toBe(LoginStatus.initiatorError);
    refuse({}, { ...all, InitiatorName: 'i'.repeat(224) }, LoginStatus.initiatorError);
  });

  it('0200 for stages that do not exist, or in the wrong order', () => {
    const wrong = LoginStatus.initiatorError;
    refuse({ currentStage: 3 }, all, wrong);
    refuse({ currentStage: 2 }, all, wrong);
    refuse({ nextStage: 2 }, all, wrong);
    refuse({ nextStage: 1 }, all, wrong);
    refuse({ nextStage: 0 }, all, wrong);
    refuse({ continues: true }, all, wrong);
    const bed = new LoginBed();
    bed.send({ ...SECURITY, ...TO_OPERATIONAL }, WHO);
    expect(bed.send(SECURITY, {}).status).toBe(wrong);
  });

  it('0200 when it changes its identity midway', () => {
    for (const change of [{ isidLow: 9 }, { cid: 9 }, { initiatorTaskTag: 9 }, { cmdSn: 9 }]) {
      const bed = new LoginBed();
      expect(bed.send(OPERATIONAL, WHO).status).toBe(0);
      expect(bed.send({ ...OPERATIONAL, ...change }, {}).status).toBe(LoginStatus.initiatorError);
    }
  });

  it('0200 when it does not come to an end', () => {
    const bed = new LoginBed();
    bed.send(OPERATIONAL, WHO);
    for (let count = 1; count < LOGIN_EXCHANGES_MAX; count++) {
      expect(bed.send(OPERATIONAL, {}).outcome).toBe('continue');
    }
    expect(bed.send(OPERATIONAL, {}).status).toBe(LoginStatus.initiatorError);
  });

  it('0200 when its text does not come to an end', () => {
    const bed = new LoginBed();
    const piece = new Uint8Array(4096).fill(0x41);
    const statuses = [1, 2, 3].map(
      () => bed.sendBytes({ ...OPERATIONAL, continues: true }, piece).status,
    );
    expect(statuses).toEqual([0, 0, LoginStatus.initiatorError]);
  });

  it('0101 and 0102, and an address, for a target that has moved', () => {
    const redirect = { host: '::1', port: 3261, isPermanent: false };
    const moved = refuse({}, all, LoginStatus.movedTemporarily, { ...openPolicy, redirect });
    expect(moved.keys.get('TargetAddress')).toBe('[::1]:3261');
    const policy = { ...openPolicy, redirect: { ...redirect, isPermanent: true } };
    refuse({}, all, LoginStatus.movedPermanently, policy);
  });

  it('what its owner says, after all', () => {
    const bed = new LoginBed();
    bed.send({ ...OPERATIONAL, ...TO_FULL }, all);
    bed.responder.refuse(LoginStatus.outOfResources, 'full');
    expect(bed.responder.response).toMatchObject({ statusClass: 3, statusDetail: 2 });
    expect(bed.responder.text).toHaveLength(0);
  });
});

describe('a login responder', () => {
  it('drops what is no login request', () => {
    const responder = new LoginResponder(openPolicy, countingBytes, () => false);
    const view = new DataView(new ArrayBuffer(48));
    expect(responder.receive(view, 0, 48, 0)).toBe('dropped');
    expect(responder.reason).toContain('NOP-Out');
  });

  it('comes to an end with any bytes, and accepts none that did not prove the secret', () => {
    const text = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .array(
          fc.tuple(
            fc.constantFrom(...Object.keys({ ...WHO, ...OFFER }), 'AuthMethod', 'CHAP_A', 'CHAP_R'),
            fc.oneof(fc.constantFrom('Yes', 'No', 'CHAP', 'None', '5', LAB), fc.string()),
          ),
        )
        .map((list) => Buffer.from(list.map(([key, value]) => `${key}=${value}\0`).join(''))),
    );
    const step = fc.record({
      header: fc.uint8Array({ minLength: 48, maxLength: 48 }),
      isSane: fc.boolean(),
      text,
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 6 }), (steps) => {
        const responder = new LoginResponder(chapPolicy, countingBytes, () => false);
        for (const { header, isSane, text: data } of steps) {
          const bytes = new Uint8Array(48 + data.length);
          bytes.set(header);
          bytes.set(data, 48);
          bytes[0] = 0x43;
          if (isSane) bytes.set([0x87, 0, 0, 0, 0, 0, 0], 1);
          const outcome = responder.receive(new DataView(bytes.buffer), 0, 48, data.length);
          if (outcome === 'accepted') {
            expect(responder.identity.sessionType).toBe('Discovery');
          }
          if (outcome !== 'continue') return;
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the policy of a target', () => {
  it('takes names of all three kinds', () => {
    for (const targetName of [
      LAB,
      'iqn.2026-11.io.example',
      'eui.02004567A425678D',
      'naa.52004567BA64678D',
    ]) {
      expect(() => checkLoginPolicy({ ...openPolicy, targetName })).not.toThrow();
    }
  });

  it('refuses names that are none, and secrets that are too short or the same', () => {
    for (const targetName of ['', 'lab', 'iqn.26-1.x', 'iqn.2026-11.io.example:a b', 'eui.12']) {
      expect(() => checkLoginPolicy({ ...openPolicy, targetName })).toThrow(ConfigError);
    }
    const short = { user: 'a', secret: Buffer.from('short') };
    expect(() => checkLoginPolicy({ ...openPolicy, chap: short })).toThrow(ConfigError);
    const same = { user: 'a', secret: Buffer.from('initiator-secret') };
    const chap = { ...same, mutual: same };
    expect(() => checkLoginPolicy({ ...openPolicy, chap })).toThrow(ConfigError);
  });
});
