import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AsyncEvent, PduOpcode, RejectReason } from '../../src/iscsi/codes.js';
import {
  NopOutPdu,
  TextRequestPdu,
  decodeNopOut,
  decodeTextRequest,
} from '../../src/iscsi/request-wire.js';
import { parseSendTargets } from '../../src/iscsi/send-targets.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import type { SentPdu } from '../support/iscsi/datamover.js';
import { SessionBench, answerPings, commandOf, watchLoss } from '../support/iscsi/session.js';
import { turn } from '../support/waiting.js';

function nopOutOf(pdu: SentPdu): NopOutPdu {
  const nopOut = new NopOutPdu();
  decodeNopOut(pdu.view, 0, nopOut);
  return nopOut;
}

async function expectFailed(bench: SessionBench, reason: RegExp): Promise<void> {
  const reasons = watchLoss(bench);
  await turn();
  expect(reasons).toHaveLength(1);
  expect(reasons[0]).toMatch(reason);
  expect(bench.datamover.isTerminated).toBe(true);
}

describe('pings', () => {
  it('ask a silent target with a real task tag, immediate, without taking a CmdSN', () => {
    const bench = new SessionBench();
    bench.advance(5250);
    const ping = nopOutOf(bench.datamover.take());
    expect(ping).toMatchObject({ immediate: true, targetTransferTag: 0xffff_ffff, cmdSn: 1 });
    expect(ping.initiatorTaskTag).not.toBe(0xffff_ffff);
    bench.nopIn({ initiatorTaskTag: ping.initiatorTaskTag });
    bench.execute();
    expect(commandOf(bench.datamover.take()).cmdSn).toBe(1);
  });

  it('are not sent while the target talks', () => {
    const bench = new SessionBench();
    for (let second = 0; second < 30; second++) {
      bench.execute();
      bench.respond(bench.datamover.take().tag);
      bench.advance(1000);
    }
    expect(bench.datamover.sent).toHaveLength(0);
  });

  it('end the session when they are not answered', async () => {
    const bench = new SessionBench();
    const [command] = bench.execute();
    bench.advance(5250);
    bench.advance(5500);
    expect(bench.done).toEqual([]);
    await expectFailed(bench, /did not answer a ping/);
    expect(command?.outcome).toBe(DeliveryOutcome.connectionLost);
  });

  it('go on for ever with a target that answers, one at a time', async () => {
    const bench = new SessionBench();
    answerPings(bench);
    for (let second = 0; second < 60; second++) {
      bench.advance(1000);
      await turn();
    }
    expect(bench.session.isUp).toBe(true);
    expect(bench.datamover.sent.length).toBeGreaterThan(8);
    expect(bench.datamover.sent.length).toBeLessThan(13);
  });

  it('of the target are answered with its transfer tag and LUN, and no task tag', () => {
    const bench = new SessionBench();
    bench.nopIn({ initiatorTaskTag: 0xffff_ffff, targetTransferTag: 0x1234, lunHigh: 0x00050000 });
    expect(nopOutOf(bench.datamover.take())).toMatchObject({
      immediate: true,
      initiatorTaskTag: 0xffff_ffff,
      targetTransferTag: 0x1234,
      lunHigh: 0x00050000,
      dataSegmentLength: 0,
      expStatSn: 500,
    });
  });

  it('of the target without a transfer tag only carry numbers', () => {
    const bench = new SessionBench();
    bench.nopIn({ initiatorTaskTag: 0xffff_ffff });
    expect(bench.datamover.sent).toHaveLength(0);
  });
});

describe('a target that breaks the protocol', () => {
  it.each([
    ['a response to a task that does not exist', (bench: SessionBench) => bench.respond(0x999000)],
    [
      'a second response to a task',
      (bench: SessionBench) => {
        const { tag } = bench.datamover.sent[0]!;
        bench.respond(tag);
        bench.expCmdSn--;
        bench.respond(tag);
      },
    ],
    [
      'both residuals',
      (bench: SessionBench) =>
        bench.respond(bench.datamover.sent[0]!.tag, { overflow: true, underflow: true }),
    ],
    [
      'a residual above the transfer',
      (bench: SessionBench) =>
        bench.respond(bench.datamover.sent[0]!.tag, { underflow: true, residual: 1 }),
    ],
    [
      'sense that is not there',
      (bench: SessionBench) =>
        bench.respond(bench.datamover.sent[0]!.tag, { status: 2 }, Uint8Array.of(0, 9, 1, 2)),
    ],
    [
      'a data segment of one byte',
      (bench: SessionBench) => bench.respond(bench.datamover.sent[0]!.tag, {}, Uint8Array.of(0)),
    ],
    [
      'an acknowledgement of the future',
      (bench: SessionBench) =>
        bench.respond(bench.datamover.sent[0]!.tag, { expCmdSn: 50, maxCmdSn: 90 }),
    ],
    [
      'a ping answer to a command',
      (bench: SessionBench) => bench.nopIn({ initiatorTaskTag: bench.datamover.sent[0]!.tag }),
    ],
    ['R2T', (bench: SessionBench) => bench.datamover.deliver(bhsOf(PduOpcode.readyToTransfer))],
    ['Data-In', (bench: SessionBench) => bench.datamover.deliver(bhsOf(PduOpcode.dataIn))],
    [
      'a login response',
      (bench: SessionBench) => bench.datamover.deliver(bhsOf(PduOpcode.loginResponse)),
    ],
    ['an unknown opcode', (bench: SessionBench) => bench.datamover.deliver(bhsOf(0x2a))],
    [
      'a rejected command',
      (bench: SessionBench) => bench.reject(bench.datamover.sent[0]!, RejectReason.protocolError),
    ],
  ])('with %s ends the session, and the command ends once', async (_, act) => {
    const bench = new SessionBench();
    const [command] = bench.execute();
    act(bench);
    const reasons = watchLoss(bench);
    await turn();
    expect(reasons).toHaveLength(1);
    expect(bench.done).toEqual([command]);
    expect(bench.datamover.tasks.every((task) => !task.isActive)).toBe(true);
  });

  it('with anything at all leaves each command with one end', async () => {
    const opcode = fc.constantFrom(0x20, 0x21, 0x22, 0x24, 0x26, 0x32, 0x3f, 0x25, 0x31, 0x00);
    const pdu = fc.record({
      opcode,
      flags: fc.nat(255),
      bytes: fc.uint8Array({ minLength: 46, maxLength: 46 }),
      useTag: fc.boolean(),
      goodNumbers: fc.boolean(),
      data: fc.uint8Array({ maxLength: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(pdu, { maxLength: 12 }), async (pdus) => {
        const bench = new SessionBench({ window: 4 });
        const commands = bench.execute(9);
        for (const [
          index,
          { opcode: code, flags, bytes, useTag, goodNumbers, data },
        ] of pdus.entries()) {
          const bhs = Uint8Array.of(code, flags, ...bytes);
          const view = new DataView(bhs.buffer);
          if (useTag) view.setUint32(16, bench.datamover.sent[index]?.tag ?? 0xffff_ffff);
          if (goodNumbers) view.setUint32(28, 1);
          if (goodNumbers) view.setUint32(32, 6);
          bench.datamover.deliver(bhs, data);
          bench.advance(300);
        }
        bench.datamover.drop(new Error('end of the test'));
        await turn();
        expect(new Set(bench.done).size).toBe(commands.length);
        expect(bench.done).toHaveLength(commands.length);
        expect(bench.clock.armedCount).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

function bhsOf(opcode: number): Uint8Array {
  const bhs = new Uint8Array(48);
  bhs[0] = opcode;
  bhs.set([0, 0, 0, 1, 0, 0, 0, 64], 28);
  return bhs;
}

describe('what the target says unasked', () => {
  it('a logout request: commands finish, then we log out, and the port is lost', async () => {
    const bench = new SessionBench();
    const reasons = watchLoss(bench);
    bench.execute();
    bench.async({ event: AsyncEvent.logoutRequest, parameter3: 10 });
    const [late] = bench.execute();
    expect(bench.datamover.sent).toHaveLength(1);
    bench.respond(bench.datamover.take().tag);
    const logout = bench.datamover.take();
    expect(logout.opcode).toBe(PduOpcode.logoutRequest);
    bench.logout(logout.tag);
    await turn();
    expect(reasons).toEqual([expect.stringMatching(/asked us to log out/)]);
    expect(late?.outcome).toBe(DeliveryOutcome.connectionLost);
  });

  it('a logout request with little time: we log out in time, whatever is outstanding', () => {
    const bench = new SessionBench();
    bench.execute();
    bench.async({ event: AsyncEvent.logoutRequest, parameter3: 4 });
    bench.advance(2500);
    expect(bench.datamover.sent.at(-1)?.opcode).toBe(PduOpcode.logoutRequest);
  });

  it.each([AsyncEvent.dropConnection, AsyncEvent.dropAllConnections])(
    'event %i: the session ends',
    async (event) => {
      const bench = new SessionBench();
      bench.async({ event, parameter1: 0, parameter2: 2, parameter3: 20 });
      await expectFailed(bench, /drops the session/);
    },
  );

  it('a negotiation request: we negotiate, with nothing to say', () => {
    const bench = new SessionBench();
    bench.async({ event: AsyncEvent.negotiationRequest, parameter3: 5 });
    const pdu = bench.datamover.take();
    expect(pdu.opcode).toBe(PduOpcode.textRequest);
    expect(pdu.data).toHaveLength(0);
    bench.text(pdu.tag, new Uint8Array(0));
    expect(bench.session.isUp).toBe(true);
  });

  it.each([AsyncEvent.scsiEvent, AsyncEvent.vendorSpecific, 77])(
    'event %i: the session goes on',
    (event) => {
      const bench = new SessionBench();
      bench.async({ event });
      bench.execute();
      bench.respond(bench.datamover.take().tag);
      expect(bench.done).toHaveLength(1);
    },
  );

  it('a rejected ping counts as an answer', () => {
    const bench = new SessionBench();
    bench.advance(5250);
    bench.reject(bench.datamover.take(), RejectReason.tooManyImmediateCommands);
    bench.advance(4000);
    expect(bench.session.isUp).toBe(true);
  });

  it('a rejected reset is a refused reset', async () => {
    const bench = new SessionBench();
    const reset = bench.session.lun(0).resetLogicalUnit();
    bench.reject(bench.datamover.take(), RejectReason.commandNotSupported);
    await expect(reset).rejects.toMatchObject({ code: 'iscsi-reset-refused' });
    expect(bench.session.isUp).toBe(true);
  });
});

describe('text', () => {
  const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

  it('is asked for until the last piece, with the tags of the target', async () => {
    const bench = new SessionBench();
    const answer = bench.session.exchangeText([{ key: 'SendTargets', value: 'All' }]);
    const first = bench.datamover.take();
    expect(first.data).toEqual(bytesOf('SendTargets=All\0'));
    bench.text(first.tag, bytesOf('TargetName=iqn.a\0Target'), {
      final: false,
      continues: true,
      targetTransferTag: 0x77,
      lunHigh: 5,
    });
    const more = bench.datamover.take();
    const pdu = new TextRequestPdu();
    decodeTextRequest(more.view, 0, pdu);
    expect(pdu).toMatchObject({ final: true, targetTransferTag: 0x77, lunHigh: 5 });
    expect(more.tag).toBe(first.tag);
    expect(more.data).toHaveLength(0);
    bench.text(first.tag, bytesOf('Address=10.0.0.1\0'));
    await expect(answer).resolves.toEqual(bytesOf('TargetName=iqn.a\0TargetAddress=10.0.0.1\0'));
  });

  it('may have 4000 targets with two portals each, in pieces, and takes the time that they take', async () => {
    const bench = new SessionBench({ timeouts: { pingIntervalMs: 1e9 } });
    const answer = bench.session.exchangeText([{ key: 'SendTargets', value: 'All' }]);
    const { tag } = bench.datamover.take();
    const list = bytesOf(
      Array.from({ length: 4000 }, (_, index) => {
        const address = `TargetAddress=[2001:db8:1111:2222:3333:4444:5555:${index}]:3260,1\0`;
        return `TargetName=iqn.2026-11.io.example:${'long-name-'.repeat(8)}${index}\0${address}${address}`;
      }).join(''),
    );
    for (let at = 0; at < list.length; at += 128) {
      const final = at + 128 >= list.length;
      if (at % (128 * 1000) === 0) bench.advance(25_000);
      const piece = list.subarray(at, at + 128);
      bench.text(tag, piece, {
        final,
        continues: !final,
        ...(final ? {} : { targetTransferTag: 7 }),
      });
      if (!final) bench.datamover.take();
    }
    const { targets } = parseSendTargets(await answer, { host: '192.0.2.1', port: 3260 });
    expect(targets).toHaveLength(4000);
    expect(targets.every(({ portals }) => portals.length === 2)).toBe(true);
  });

  it('longer than any list of targets is refused', async () => {
    const bench = new SessionBench();
    const answer = bench.session.exchangeText([{ key: 'SendTargets', value: 'All' }]);
    const { tag } = bench.datamover.take();
    const piece = new Uint8Array(8192);
    for (let sent = 0; sent <= 2 * 1024 * 1024 && bench.session.isUp; sent += piece.length) {
      bench.text(tag, piece, { final: false, continues: true, targetTransferTag: 7 });
    }
    await expect(answer).rejects.toMatchObject({ code: 'iscsi-protocol' });
  });

  it.each([
    ['is not the last and has no transfer tag', { final: false }],
    ['is the last and says that more follows', { continues: true }],
    ['is the last and has a transfer tag', { targetTransferTag: 5 }],
  ])('that %s ends the session', async (_, changes) => {
    const bench = new SessionBench();
    const answer = bench.session.exchangeText([]);
    bench.text(bench.datamover.take().tag, new Uint8Array(0), changes);
    await expect(answer).rejects.toMatchObject({ code: 'iscsi-protocol' });
    await turn();
    expect(bench.session.isUp).toBe(false);
  });

  it('that never ends is given up', async () => {
    const bench = new SessionBench({ timeouts: { pingIntervalMs: 1e9 } });
    const answer = bench.session.exchangeText([]);
    bench.advance(30_000);
    await expect(answer).rejects.toMatchObject({ code: 'iscsi-text-timeout' });
  });
});
