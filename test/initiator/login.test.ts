import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IserNbdError } from '../../src/common/errors.js';
import type { ChapCredentials } from '../../src/iscsi/chap.js';
import { LoginStatus, PduOpcode } from '../../src/iscsi/codes.js';
import { IscsiLoginError, IscsiProtocolError } from '../../src/iscsi/errors.js';
import { InitiatorLogin, randomIsid } from '../../src/initiator/login.js';
import type { LoginOptions, LoginResult, LoginStep } from '../../src/initiator/login.js';
import { initiatorOffers } from '../../src/initiator/offers.js';
import type { LoginResponsePdu } from '../../src/iscsi/response-wire.js';
import { SCRIPTED_LIMITS } from '../support/iscsi/datamover.js';
import { LOGIN_TARGET_WISHES, LoginTarget } from '../support/iscsi/login-target.js';
import type { LoginTargetOptions } from '../support/iscsi/login-target.js';

const INITIATOR = 'iqn.2026-11.io.example:host';
const TARGET = 'iqn.2026-11.io.example:array';
const oneWay: ChapCredentials = { user: 'host', secret: Buffer.from('correct-horse-42') };
const mutual: ChapCredentials = {
  ...oneWay,
  mutual: { user: 'array', secret: Buffer.from('battery-staple-7') },
};
const users = { host: Buffer.from('correct-horse-42') };

function makeLogin(options: Partial<LoginOptions> = {}): InitiatorLogin {
  return new InitiatorLogin({
    initiatorName: INITIATOR,
    targetName: TARGET,
    offers: initiatorOffers(SCRIPTED_LIMITS),
    dataBytesMax: 8192,
    isid: { high: 0x80123456, low: 0x789a },
    randomBytes,
    ...options,
  });
}

/** Takes the machine and the target through the login; returns what ends it. */
function run(login: InitiatorLogin, target: LoginTarget): Exclude<LoginStep, { type: 'send' }> {
  let step = login.start();
  for (let count = 0; step.type === 'send'; count++) {
    expect(count).toBeLessThan(40);
    const { bhs, data } = target.answer(step.bhs, step.data);
    const bytes = new Uint8Array([...bhs, ...data]);
    step = login.receive(new DataView(bytes.buffer), 0, 48, data.length);
  }
  return step;
}

function loggedIn(options: Partial<LoginOptions> = {}, peer: LoginTargetOptions = {}): LoginResult {
  const step = run(makeLogin(options), new LoginTarget(peer));
  if (step.type !== 'done') throw new Error(`the login ended with ${step.type}`);
  return step.result;
}

function tampering(
  change: (response: LoginResponsePdu) => void,
  stage?: number,
): LoginTargetOptions {
  return {
    tamper: (response) => {
      if (stage === undefined || response.currentStage === stage) change(response);
    },
  };
}

describe('a login without authentication', () => {
  it('takes two requests and settles the keys', () => {
    const target = new LoginTarget();
    const step = run(makeLogin(), target);
    expect(target.requests).toHaveLength(2);
    const [first, second] = target.requests;
    expect(first?.pdu).toMatchObject({
      immediate: true,
      transit: true,
      currentStage: 0,
      nextStage: 1,
      isidHigh: 0x80123456,
      isidLow: 0x789a,
      tsih: 0,
      expStatSn: 0,
    });
    expect(Object.fromEntries(first!.pairs)).toEqual({
      InitiatorName: INITIATOR,
      TargetName: TARGET,
      SessionType: 'Normal',
      AuthMethod: 'None',
    });
    expect(second?.pdu).toMatchObject({
      transit: true,
      currentStage: 1,
      nextStage: 3,
      expStatSn: 101,
    });
    expect([...second!.pairs.keys()][0]).toBe('RDMAExtensions');
    expect(step).toMatchObject({
      type: 'done',
      result: {
        sessionType: 'Normal',
        tsih: 7,
        authMethod: 'None',
        cmdSn: 1,
        expStatSn: 102,
        expCmdSn: 1,
        maxCmdSn: 64,
        declared: { TargetPortalGroupTag: 1 },
        keys: { RDMAExtensions: true, MaxBurstLength: 262144, FirstBurstLength: 65536 },
      },
    });
  });

  it('offers what iSER on Linux can take', () => {
    const target = new LoginTarget();
    run(makeLogin(), target);
    expect(Object.fromEntries(target.requests[1]!.pairs)).toEqual({
      RDMAExtensions: 'Yes',
      HeaderDigest: 'None',
      DataDigest: 'None',
      MaxConnections: '1',
      InitialR2T: 'Yes',
      ImmediateData: 'Yes',
      MaxRecvDataSegmentLength: '8192',
      InitiatorRecvDataSegmentLength: '8192',
      TargetRecvDataSegmentLength: '8192',
      MaxBurstLength: '16776192',
      FirstBurstLength: '262144',
      DefaultTime2Wait: '2',
      DefaultTime2Retain: '0',
      MaxOutstandingR2T: '1',
      DataPDUInOrder: 'Yes',
      DataSequenceInOrder: 'Yes',
      ErrorRecoveryLevel: '0',
    });
  });

  it('never proposes a target receive above 8192 bytes, whatever the datamover could send', () => {
    const limits = { ...SCRIPTED_LIMITS, controlDataBytesMax: 262144 };
    expect(initiatorOffers(limits).TargetRecvDataSegmentLength).toBe(8192);
  });

  it('says which request may bring full feature phase', () => {
    const login = makeLogin();
    const target = new LoginTarget();
    const first = login.start() as Extract<LoginStep, { type: 'send' }>;
    expect(first.entersFullFeature).toBe(false);
    const { bhs, data } = target.answer(first.bhs, first.data);
    const bytes = new Uint8Array([...bhs, ...data]);
    const second = login.receive(new DataView(bytes.buffer), 0, 48, data.length);
    expect(second).toMatchObject({ type: 'send', entersFullFeature: true });
  });

  it('splits its text when requests are short, and gathers answers that are split', () => {
    const target = new LoginTarget();
    const step = run(makeLogin({ dataBytesMax: 50 }), target);
    expect(step.type).toBe('done');
    expect(target.requests[1]?.pairs.get('ErrorRecoveryLevel')).toBe('0');
  });

  it('gathers an answer that comes in pieces, and asks for each with an empty request', () => {
    const target = new LoginTarget({ pieceBytes: 40 });
    const step = run(makeLogin(), target);
    expect(step).toMatchObject({ type: 'done', result: { keys: { MaxBurstLength: 262144 } } });
    const empty = target.requests.filter(({ pairs }) => pairs.size === 0);
    expect(empty.length).toBeGreaterThan(0);
  });

  it('goes on asking a target that stays in a stage, but not for ever', () => {
    const patient = new LoginTarget(
      tampering((response) => {
        response.transit = false;
        response.nextStage = 0;
      }, 1),
    );
    expect(() => run(makeLogin(), patient)).toThrow(/did not end within 32 requests/);
  });

  it('logs in to a discovery session, where RDMAExtensions may be anything', () => {
    const wishes = { ...LOGIN_TARGET_WISHES, RDMAExtensions: false };
    const target = new LoginTarget({ wishes });
    const step = run(makeLogin({ targetName: null }), target);
    expect(step).toMatchObject({ type: 'done', result: { sessionType: 'Discovery' } });
    expect(target.requests[0]?.pairs.get('SessionType')).toBe('Discovery');
    expect(target.requests[0]?.pairs.has('TargetName')).toBe(false);
    expect(target.requests[1]?.pairs.has('MaxBurstLength')).toBe(false);
  });
});

describe('a login with CHAP', () => {
  it('proves the initiator', () => {
    expect(loggedIn({ credentials: oneWay }, { chap: { users } }).authMethod).toBe('CHAP');
  });

  it('proves both', () => {
    const peer = {
      chap: { users, mutual: { user: 'array', secret: Buffer.from('battery-staple-7') } },
    };
    expect(loggedIn({ credentials: mutual }, peer).authMethod).toBe('CHAP');
  });

  it('goes on without it when the target wants none and need not prove itself', () => {
    expect(loggedIn({ credentials: oneWay }).authMethod).toBe('None');
  });

  it('does not, when the target must prove itself', () => {
    expect(() => loggedIn({ credentials: mutual })).toThrow(IscsiProtocolError);
  });

  it('fails when the target goes on without its proof', () => {
    const peer: LoginTargetOptions = {
      chap: { users, mutual: { user: 'array', secret: Buffer.from('battery-staple-7') } },
      tamper: (response, pairs) =>
        response.transit && response.currentStage === 0
          ? pairs.filter(({ key }) => !key.startsWith('CHAP_'))
          : undefined,
    };
    expect(() => loggedIn({ credentials: mutual }, peer)).toThrow(
      expect.objectContaining({ code: 'iscsi-chap-no-mutual' }),
    );
  });

  it('fails when the target proves another secret', () => {
    const peer = {
      chap: { users, mutual: { user: 'array', secret: Buffer.from('something-else!') } },
    };
    expect(() => loggedIn({ credentials: mutual }, peer)).toThrow(
      expect.objectContaining({ code: 'iscsi-chap-refused' }),
    );
  });

  it('fails when the target leaves the stage before the challenge', () => {
    const peer: LoginTargetOptions = {
      chap: { users },
      tamper: (response) => {
        response.transit = true;
        response.nextStage = 1;
      },
    };
    expect(() => loggedIn({ credentials: oneWay }, peer)).toThrow(IscsiProtocolError);
  });

  it('fails when a target asks for CHAP that was not offered', () => {
    expect(() => loggedIn({}, { chap: { users } })).toThrow(/was not offered/);
  });

  it('reports a target that accepts no method', () => {
    const peer: LoginTargetOptions = {
      tamper: (response, pairs) => {
        response.transit = false;
        response.nextStage = 0;
        return pairs.map((pair) =>
          pair.key === 'AuthMethod' ? { ...pair, value: 'Reject' } : pair,
        );
      },
    };
    expect(() => loggedIn({}, peer)).toThrow(
      expect.objectContaining({ code: 'iscsi-auth-rejected' }),
    );
  });
});

describe('refusals', () => {
  const refusals = Object.entries(LoginStatus).filter(([, status]) => status >= 0x0200);

  it.each(refusals)('says in words what status %s means', (_, status) => {
    const peer = tampering((response) => {
      response.transit = false;
      response.statusClass = status >> 8;
      response.statusDetail = status & 0xff;
    });
    const code = `iscsi-login-${status.toString(16).padStart(4, '0')}`;
    try {
      loggedIn({}, peer);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(IscsiLoginError);
      expect(error).toMatchObject({
        code,
        facts: { targetName: TARGET, statusClass: status >> 8 },
      });
      expect((error as Error).message).toMatch(/: \w+ .*\w/);
    }
  });

  it.each([
    ['temporarily', 1, false],
    ['permanently', 2, true],
  ])('reports a target that has moved %s', (_, detail, isPermanent) => {
    const peer: LoginTargetOptions = {
      tamper: (response) => {
        response.transit = false;
        response.statusClass = 1;
        response.statusDetail = detail;
        return [{ key: 'TargetAddress', value: '[2001:db8::5]:3261,2' }];
      },
    };
    expect(run(makeLogin(), new LoginTarget(peer))).toEqual({
      type: 'redirect',
      portal: { host: '2001:db8::5', port: 3261, portalGroupTag: 2 },
      isPermanent,
    });
  });

  it('does not follow a redirection to nowhere', () => {
    const peer: LoginTargetOptions = {
      tamper: (response) => {
        response.statusClass = 1;
        response.statusDetail = 1;
        return [];
      },
    };
    expect(() => loggedIn({}, peer)).toThrow(/without a TargetAddress/);
  });

  it('names the portal as the problem when RDMAExtensions=No', () => {
    const wishes = { ...LOGIN_TARGET_WISHES, RDMAExtensions: false };
    expect(() => loggedIn({}, { wishes })).toThrow(
      expect.objectContaining({ code: 'iscsi-no-rdma-extensions' }),
    );
  });
});

describe('a target that breaks the protocol', () => {
  it.each<[string, (response: LoginResponsePdu) => void, number?]>([
    ['answers for another task', (response) => (response.initiatorTaskTag = 5)],
    ['answers for another ISID', (response) => (response.isidLow ^= 1)],
    ['speaks another version', (response) => (response.versionActive = 1)],
    ['is in another stage', (response) => (response.currentStage = 1), 0],
    ['goes to another stage', (response) => (response.nextStage = 3), 0],
    ['says both T and C', (response) => (response.continues = true)],
    ['repeats a StatSN', (response) => (response.statSn = 100), 1],
    ['gives no TSIH', (response) => (response.tsih = 0), 1],
  ])('%s: the login ends', (_, change, stage) => {
    expect(() => loggedIn({}, tampering(change, stage))).toThrow(IscsiProtocolError);
  });

  it('leaves a stage without being asked: the login ends', () => {
    const peer: LoginTargetOptions = {
      tamper: (response) => {
        response.transit = true;
        response.nextStage = 1;
      },
    };
    expect(() => loggedIn({ credentials: oneWay }, peer)).toThrow(/without being asked/);
  });

  it('leaves offers unanswered: the login ends', () => {
    const peer: LoginTargetOptions = {
      tamper: (_, pairs) => pairs.filter(({ key }) => key !== 'MaxBurstLength'),
    };
    expect(() => loggedIn({}, peer)).toThrow(/did not answer MaxBurstLength/);
  });

  it('offers a key while it goes on: the login ends', () => {
    const peer: LoginTargetOptions = {
      tamper: (response, pairs) =>
        response.currentStage === 1 ? [...pairs, { key: 'X-new', value: '1' }] : undefined,
    };
    expect(() => loggedIn({}, peer)).toThrow(/while X-new was being negotiated/);
  });

  it('sends a security key after the security stage: the login ends', () => {
    const peer: LoginTargetOptions = {
      tamper: (response, pairs) =>
        response.currentStage === 1 ? [...pairs, { key: 'CHAP_R', value: '0x00' }] : undefined,
    };
    expect(() => loggedIn({}, peer)).toThrow(/outside the security stage/);
  });

  it('sends something else than a login response: the login ends', () => {
    const login = makeLogin();
    login.start();
    const view = new DataView(new ArrayBuffer(48));
    view.setUint8(0, PduOpcode.nopIn);
    expect(() => login.receive(view, 0, 48, 0)).toThrow(/NOP-In during login/);
  });

  it('sends more than 8192 bytes of text: the login ends', () => {
    const login = makeLogin();
    const target = new LoginTarget(
      tampering((response) => {
        response.continues = true;
        response.transit = false;
      }),
    );
    let step = login.start();
    const big = new Uint8Array(5000).fill(0x41);
    expect(() => {
      for (;;) {
        if (step.type !== 'send') break;
        const { bhs } = target.answer(step.bhs, new Uint8Array(0));
        step = login.receive(new DataView(Uint8Array.of(...bhs, ...big).buffer), 0, 48, 5000);
      }
    }).toThrow(/longer than 8192/);
  });

  it('sends anything at all: a step or an operating error', () => {
    const pdu = fc.record({
      flags: fc.nat(255),
      status: fc.constantFrom(0, 0, 0, 0x0101, 0x0201, 0x0300),
      statSn: fc.constantFrom(100, 101, 7),
      data: fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        fc
          .array(
            fc.tuple(
              fc.constantFrom(
                'AuthMethod',
                'CHAP_A',
                'CHAP_I',
                'CHAP_C',
                'CHAP_N',
                'RDMAExtensions',
              ),
              fc.constantFrom('None', 'CHAP', '7', '0x1234', 'Yes', 'Reject'),
            ),
          )
          .map((pairs) => new TextEncoder().encode(pairs.map(([k, v]) => `${k}=${v}\0`).join(''))),
      ),
    });
    fc.assert(
      fc.property(fc.array(pdu, { maxLength: 6 }), fc.boolean(), (pdus, hasChap) => {
        const login = makeLogin(hasChap ? { credentials: mutual } : {});
        login.start();
        try {
          for (const { flags, status, statSn, data } of pdus) {
            const bytes = new Uint8Array(48 + data.length);
            const view = new DataView(bytes.buffer);
            view.setUint8(0, PduOpcode.loginResponse);
            view.setUint8(1, flags);
            view.setUint32(8, 0x80123456);
            view.setUint16(12, 0x789a);
            view.setUint32(24, statSn);
            view.setUint16(36, status);
            bytes.set(data, 48);
            if (login.receive(view, 0, 48, data.length).type !== 'send') return;
          }
        } catch (error) {
          expect(error).toBeInstanceOf(IserNbdError);
        }
      }),
    );
  });
});

describe('the ISID', () => {
  it('is of the random type', () => {
    const isid = randomIsid(() => Uint8Array.of(1, 2, 3, 4, 5));
    expect(isid).toEqual({ high: 0x80010203, low: 0x0405 });
  });
});
