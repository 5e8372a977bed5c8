import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../support/common/manual-clock.js';
import { ConfigError, IserNbdError } from '../../src/common/errors.js';
import type { ChapAlgorithm } from '../../src/iscsi/chap-algorithm.js';
import { LoginStatus, PduOpcode } from '../../src/iscsi/codes.js';
import { IscsiProtocolError } from '../../src/iscsi/errors.js';
import { connectSession, discoverTargets } from '../../src/initiator/connect.js';
import type { SessionConnectOptions } from '../../src/initiator/connect.js';
import { formatAddress } from '../../src/common/address.js';
import { parseTargetAddress } from '../../src/iscsi/portal.js';
import type { Portal } from '../../src/iscsi/portal.js';
import {
  LogoutResponsePdu,
  TextResponsePdu,
  encodeLogoutResponse,
  encodeTextResponse,
} from '../../src/iscsi/response-wire.js';
import { encodeText } from '../../src/iscsi/text.js';
import type { TextPair } from '../../src/iscsi/text.js';
import { silentLogger } from '../../src/observe/log.js';
import { ScriptedDatamover } from '../support/iscsi/datamover.js';
import type { SentPdu } from '../support/iscsi/datamover.js';
import { LoginTarget } from '../support/iscsi/login-target.js';
import type { LoginTargetOptions } from '../support/iscsi/login-target.js';
import { turn } from '../support/waiting.js';

const PORTAL: Portal = { host: '192.0.2.1', port: 3260 };

/** Connections to scripted targets, one set of options per connection; the last one serves the rest. */
class Fabric {
  readonly clock = new ManualClock();
  readonly portals: string[] = [];
  readonly datamovers: ScriptedDatamover[] = [];
  readonly #peers: LoginTargetOptions[];
  sendTargets: TextPair[] = [];

  constructor(...peers: LoginTargetOptions[]) {
    this.#peers = peers;
  }

  readonly connect = (portal: Portal): Promise<ScriptedDatamover> => {
    const peer = this.#peers[Math.min(this.datamovers.length, this.#peers.length - 1)] ?? {};
    this.portals.push(formatAddress(portal));
    const datamover = new ScriptedDatamover();
    const target = new LoginTarget(peer);
    datamover.onSent = (pdu) => {
      if (pdu.opcode === PduOpcode.loginRequest) {
        const { bhs, data } = target.answer(pdu.bhs, pdu.data);
        datamover.deliver(bhs, data);
      } else this.#answer(datamover, pdu);
    };
    this.datamovers.push(datamover);
    return Promise.resolve(datamover);
  };

  options(changes: Partial<SessionConnectOptions> = {}): SessionConnectOptions {
    return {
      connect: this.connect,
      portal: PORTAL,
      initiatorName: 'iqn.2026-11.io.example:host',
      targetName: 'iqn.2026-11.io.example:array',
      clock: this.clock,
      log: silentLogger,
      ...changes,
    };
  }

  #answer(datamover: ScriptedDatamover, pdu: SentPdu): void {
    const bhs = new Uint8Array(48);
    const view = new DataView(bhs.buffer);
    const numbers = { initiatorTaskTag: pdu.tag, expCmdSn: 1, maxCmdSn: 64 };
    if (pdu.opcode === PduOpcode.textRequest) {
      const data = encodeText(this.sendTargets, 8192);
      const changes = { ...numbers, dataSegmentLength: data.length };
      encodeTextResponse(view, 0, Object.assign(new TextResponsePdu(), changes));
      datamover.deliver(bhs, data);
    } else if (pdu.opcode === PduOpcode.logoutRequest) {
      encodeLogoutResponse(view, 0, Object.assign(new LogoutResponsePdu(), numbers));
      datamover.deliver(bhs);
    }
  }
}

function redirectTo(address: string): LoginTargetOptions {
  return {
    tamper: (response) => {
      response.statusClass = 1;
      response.statusDetail = 1;
      return [{ key: 'TargetAddress', value: address }];
    },
  };
}

function refusing(status: number): LoginTargetOptions {
  return {
    tamper: (response) => {
      response.statusClass = status >> 8;
      response.statusDetail = status & 0xff;
    },
  };
}

describe('connecting a session', () => {
  it('logs in, posts receives before the last request, and takes commands', async () => {
    const fabric = new Fabric();
    const session = await connectSession(fabric.options());
    const [datamover] = fabric.datamovers;
    expect(datamover?.events).toEqual(['full feature']);
    expect(datamover?.tasks).toHaveLength(128);
    expect(session.parameters).toMatchObject({
      portal: '192.0.2.1:3260',
      sessionType: 'Normal',
      tsih: 7,
      declared: { TargetPortalGroupTag: 1 },
    });
    expect(session.parameters.isid).toMatch(/^80[0-9a-f]{10}$/);
    expect(session.lun(0).queueDepth).toBe(64);
    await session.close();
    expect(datamover?.isTerminated).toBe(true);
    expect(fabric.clock.armedCount).toBe(0);
  });

  it('proves both sides with CHAP', async () => {
    const mutual = { user: 'array', secret: Buffer.from('battery-staple-7') };
    const fabric = new Fabric({
      chap: { users: { host: Buffer.from('correct-horse-42') }, mutual },
    });
    const credentials = { user: 'host', secret: Buffer.from('correct-horse-42'), mutual };
    const session = await connectSession(fabric.options({ credentials }));
    expect(session.parameters.authMethod).toBe('CHAP');
  });

  describe.each(['refusal', 'nothing', 'Reject'] as const)(
    'with a target that has a %s for a list of CHAP algorithms',
    (listOfAlgorithms) => {
      const secret = Buffer.from('correct-horse-42');
      const fabric = () => new Fabric({ chap: { users: { host: secret } }, listOfAlgorithms });
      const connect = (from: Fabric, algorithms?: readonly ChapAlgorithm[]) =>
        connectSession(from.options({ credentials: { user: 'host', secret, algorithms } }));
      const offers = ({ datamovers }: Fabric) =>
        datamovers.flatMap(({ sent }) =>
          sent.flatMap(
            ({ data }) => /CHAP_A=([\d,]+)/.exec(Buffer.from(data).toString())?.[1] ?? [],
          ),
        );

      it('names the list, and does not try MD5 by itself', async () => {
        const from = fabric();
        const attempt = connect(from);
        await expect(attempt).rejects.toMatchObject({ code: 'iscsi-chap-list-refused' });
        await expect(attempt).rejects.toThrow(/sha3-256, .*A=8,7,6,5\).*--chap-algorithms md5/);
        await expect(connect(from, [7, 6])).rejects.toThrow(/CHAP_A=7,6/);
        expect(offers(from)).toEqual(['8,7,6,5', '7,6']);
      });

      it('tries MD5 alone where the user has named it', async () => {
        const from = fabric();
        const session = await connect(from, [7, 5]);
        expect(session.parameters.authMethod).toBe('CHAP');
        expect(offers(from)).toEqual(['7,5', '5']);
        expect(from.datamovers[0]?.isTerminated).toBe(true);
      });

      it('offers what is allowed and nothing else', async () => {
        const from = fabric();
        await connect(from, [5]);
        expect(offers(from)).toEqual(['5']);
      });
    },
  );

  it('does not take a wrong secret for a list that is not understood', async () => {
    const fabric = new Fabric({
      chap: { users: { host: Buffer.from('correct-horse-42') } },
      tamper: (response, pairs) => {
        if (pairs.some(({ key }) => key === 'CHAP_C')) return;
        if (response.currentStage === 0 && pairs.length === 0) response.statusClass = 2;
        if (response.statusClass === 2) response.statusDetail = 1;
      },
    });
    const credentials = { user: 'host', secret: Buffer.from('correct-horse-42') };
    await expect(
      connectSession(fabric.options({ credentials: { ...credentials, algorithms: [7, 5] } })),
    ).rejects.toMatchObject({ code: 'iscsi-login-0201' });
    expect(fabric.datamovers).toHaveLength(1);
  });

  it('follows a redirection with the same ISID', async () => {
    const fabric = new Fabric(redirectTo('192.0.2.9:3261,1'), {});
    await connectSession(fabric.options());
    expect(fabric.portals).toEqual(['192.0.2.1:3260', '192.0.2.9:3261']);
    const [first, second] = fabric.datamovers;
    expect(first?.isTerminated).toBe(true);
    expect(second?.sent[0]?.bhs.slice(8, 14)).toEqual(first?.sent[0]?.bhs.slice(8, 14));
  });

  it('follows a redirection to a link-local address on the link that it came over', async () => {
    const fabric = new Fabric(redirectTo('[fe80::2]:3261,1'), {});
    await connectSession(fabric.options({ portal: { host: 'fe80::1%eth0', port: 3260 } }));
    expect(fabric.portals).toEqual(['[fe80::1%eth0]:3260', '[fe80::2%eth0]:3261']);
  });

  it('does not follow redirections for ever', async () => {
    const fabric = new Fabric(redirectTo('192.0.2.1'));
    await expect(connectSession(fabric.options())).rejects.toMatchObject({
      code: 'iscsi-login-redirects',
    });
    expect(fabric.datamovers).toHaveLength(5);
    expect(fabric.datamovers.every(({ isTerminated }) => isTerminated)).toBe(true);
  });

  it('leaves nothing behind when the target refuses', async () => {
    const fabric = new Fabric(refusing(LoginStatus.targetNotFound));
    await expect(connectSession(fabric.options())).rejects.toMatchObject({
      code: 'iscsi-login-0203',
    });
    expect(fabric.datamovers[0]?.isTerminated).toBe(true);
    expect(fabric.clock.armedCount).toBe(0);
  });

  it('reports a connection that is lost during login', async () => {
    const fabric = new Fabric();
    const session = connectSession(fabric.options());
    await Promise.resolve();
    fabric.datamovers[0]?.drop(new Error('reset by peer'));
    await expect(session).rejects.toMatchObject({
      code: 'iscsi-login-lost',
      message: expect.stringMatching(/reset by peer/) as string,
    });
  });

  it('says that a target which ends the connection during login may have refused it', async () => {
    const fabric = new Fabric();
    const session = connectSession(fabric.options());
    await Promise.resolve();
    fabric.datamovers[0]?.drop(null);
    await expect(session).rejects.toMatchObject({
      code: 'iscsi-login-lost',
      message: expect.stringMatching(
        /the target closed the connection; .* refuse a login .*name.*ACL.*CHAP secret/,
      ) as string,
    });
  });

  it('reports a connection that was lost before the login began', async () => {
    const datamover = new ScriptedDatamover();
    datamover.drop(new Error('reset by peer'));
    const connect = (): Promise<ScriptedDatamover> => Promise.resolve(datamover);
    await expect(connectSession(new Fabric().options({ connect }))).rejects.toMatchObject({
      code: 'iscsi-login-lost',
    });
  });

  it('waits more than 20 seconds for a busy portal, but not for ever', async () => {
    const fabric = new Fabric();
    const datamover = new ScriptedDatamover();
    const connect = (): Promise<ScriptedDatamover> => Promise.resolve(datamover);
    const session = connectSession(fabric.options({ connect }));
    const rejected = expect(session).rejects.toMatchObject({ code: 'iscsi-login-timeout' });
    await turn();
    fabric.clock.advance(20_000);
    await turn();
    expect(datamover.isTerminated).toBe(false);
    fabric.clock.advance(10_000);
    await rejected;
    expect(datamover.isTerminated).toBe(true);
  });

  it('gives up a connection that does not come, and ends it when it comes late', async () => {
    const fabric = new Fabric();
    const late = new ScriptedDatamover();
    let connected: (datamover: ScriptedDatamover) => void = () => undefined;
    const connect = (): Promise<ScriptedDatamover> =>
      new Promise((resolve) => {
        connected = resolve;
      });
    const session = connectSession(fabric.options({ connect }));
    const rejected = expect(session).rejects.toMatchObject({ code: 'iscsi-login-timeout' });
    fabric.clock.advance(30_000);
    await rejected;
    connected(late);
    await turn();
    expect(late.isTerminated).toBe(true);
  });

  it('passes on what the connection fails with', async () => {
    const failure = new IserNbdError('iser-unreachable', 'nobody there');
    const options = new Fabric().options({ connect: () => Promise.reject(failure) });
    await expect(connectSession(options)).rejects.toBe(failure);
  });

  it.each([
    ['an initiator name', { initiatorName: 'host' }],
    ['a target name', { targetName: 'iqn.2026-11.io.example:a b' }],
    ['a target name of 224 bytes', { targetName: `iqn.2026-11.io:${'x'.repeat(209)}` }],
    ['a CHAP secret', { credentials: { user: 'host', secret: Buffer.from('short') } }],
  ])('refuses %s that cannot be before it connects', async (_, changes) => {
    const fabric = new Fabric();
    await expect(connectSession(fabric.options(changes))).rejects.toBeInstanceOf(ConfigError);
    expect(fabric.portals).toEqual([]);
  });

  it.each(['iqn.2026-11.io.example:disk-1', 'eui.02004567A425678D', 'naa.52004567BA64678D'])(
    'takes the name %s',
    async (targetName) => {
      const session = await connectSession(new Fabric().options({ targetName }));
      expect(session.targetName).toBe(targetName);
    },
  );
});

describe('discovery', () => {
  it('asks for all targets in a discovery session, and logs out', async () => {
    const fabric = new Fabric();
    fabric.sendTargets = [
      { key: 'TargetName', value: 'iqn.2026-11.io.example:a' },
      { key: 'TargetAddress', value: '192.0.2.1:3260,1' },
      { key: 'TargetAddress', value: '[2001:db8::1]:3260,1' },
      { key: 'TargetName', value: 'iqn.2026-11.io.example:b' },
    ];
    await expect(discoverTargets(fabric.options())).resolves.toEqual([
      {
        name: 'iqn.2026-11.io.example:a',
        portals: [
          { host: '192.0.2.1', port: 3260, portalGroupTag: 1 },
          { host: '2001:db8::1', port: 3260, portalGroupTag: 1 },
        ],
      },
      {
        name: 'iqn.2026-11.io.example:b',
        portals: [{ host: '192.0.2.1', port: 3260, portalGroupTag: null }],
      },
    ]);
    const [datamover] = fabric.datamovers;
    expect(datamover?.sent.map(({ opcode }) => opcode).slice(-2)).toEqual([
      PduOpcode.textRequest,
      PduOpcode.logoutRequest,
    ]);
    expect(datamover?.isTerminated).toBe(true);
  });

  it('logs out when the answer is malformed, too', async () => {
    const fabric = new Fabric();
    fabric.sendTargets = [{ key: 'SendTargets', value: 'Reject' }];
    await expect(discoverTargets(fabric.options())).rejects.toBeInstanceOf(IscsiProtocolError);
    expect(fabric.datamovers[0]?.isTerminated).toBe(true);
  });

  it('warns of what it had to leave out', async () => {
    const lines: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line) => void lines.push(line) });
    const fabric = new Fabric();
    fabric.sendTargets = [
      { key: 'TargetName', value: 'iqn.a' },
      { key: 'TargetAddress', value: 'no address' },
      { key: 'TargetAddress', value: '192.0.2.1,1' },
    ];
    const targets = await discoverTargets(fabric.options({ log }));
    expect(targets.map(({ portals }) => portals.length)).toEqual([1]);
    expect(lines.join()).toMatch(/"count":1.*no address/);
  });
});

describe('addresses', () => {
  it.each([
    ['192.0.2.1', { host: '192.0.2.1', port: 3260, portalGroupTag: null }],
    ['array.example:3261', { host: 'array.example', port: 3261, portalGroupTag: null }],
    ['[2001:db8::1],7', { host: '2001:db8::1', port: 3260, portalGroupTag: 7 }],
    ['[fe80::1%eth0]:3260,1', { host: 'fe80::1%eth0', port: 3260, portalGroupTag: 1 }],
  ])('%s', (text, portal) => {
    expect(parseTargetAddress(text)).toEqual(portal);
  });

  it.each(['', ':3260', 'a:0', 'a:65536', 'a:b', 'a,65536', '[::1', 'a b', '2001:db8::1:3260'])(
    '%j is none',
    (text) => {
      expect(() => parseTargetAddress(text)).toThrow(IscsiProtocolError);
    },
  );

  it('any text is an address or a protocol error', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(parseTargetAddress(text).port).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(IscsiProtocolError);
        }
      }),
    );
  });
});
