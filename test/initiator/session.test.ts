import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { PduOpcode } from '../../src/iscsi/codes.js';
import type { ScsiCommand } from '../../src/scsi/port.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import { DataDirection } from '../../src/common/data-direction.js';
import { SessionBench, answerPings, commandOf, watchLoss } from '../support/iscsi/session.js';
import { turn } from '../support/waiting.js';

describe('commands', () => {
  it('go out with LUN, lengths, numbers and CDB in place', () => {
    const bench = new SessionBench({ cmdSn: 0xffff_ffff });
    const read = bench.command(DataDirection.in, 4096, 0x88);
    bench.session.lun(3).execute(read);
    bench.execute();
    const pdu = commandOf(bench.datamover.take());
    expect(pdu).toMatchObject({
      immediate: false,
      final: true,
      read: true,
      write: false,
      attribute: 1,
      lunHigh: 0x00030000,
      lunLow: 0,
      expectedDataTransferLength: 4096,
      dataSegmentLength: 0,
      cmdSn: 0xffff_ffff,
      expStatSn: 500,
    });
    expect(pdu.cdb[0]).toBe(0x88);
    expect(commandOf(bench.datamover.take())).toMatchObject({
      read: false,
      write: false,
      cmdSn: 0,
      expectedDataTransferLength: 0,
    });
  });

  it('go to the LUN by the address that the target has listed, resets too', () => {
    const bench = new SessionBench();
    const flat = bench.session.lun(5, 0x4005_0000);
    expect(flat).toMatchObject({ lun: 5, name: 'iqn.2026-11.io.example:array/5' });
    expect(bench.session.lun(5, 0x4005_0000)).toBe(flat);
    flat.execute(bench.command(DataDirection.in, 512));
    const command = bench.datamover.take();
    expect(commandOf(command)).toMatchObject({ lunHigh: 0x4005_0000, lunLow: 0 });
    bench.respond(command.tag);
    void flat.resetLogicalUnit().catch(() => undefined);
    expect(bench.datamover.take().view.getUint32(8)).toBe(0x4005_0000);
  });

  it.each([
    [1, 1],
    [8192, 8192],
    [8193, 0],
    [65536, 0],
  ])('of %i bytes to write carry %i of them', (length, immediate) => {
    const bench = new SessionBench();
    bench.session.lun(0).execute(bench.command(DataDirection.out, length));
    const sent = bench.datamover.take();
    expect(commandOf(sent).dataSegmentLength).toBe(immediate);
    expect(sent.task).toMatchObject({ immediateLength: immediate, dataLength: length });
    expect(sent.data).toHaveLength(immediate);
  });

  it.each([
    ['ImmediateData=No', { ImmediateData: false }],
    ['a FirstBurstLength below it', { FirstBurstLength: 512 }],
    ['a TargetRecvDataSegmentLength below it', { TargetRecvDataSegmentLength: 512 }],
  ])('carry no data with %s', (_, keys) => {
    const bench = new SessionBench({ keys });
    bench.session.lun(0).execute(bench.command(DataDirection.out, 4096));
    expect(commandOf(bench.datamover.take()).dataSegmentLength).toBe(0);
  });

  it('end with status, residual and sense, after the target has lost its access', () => {
    const bench = new SessionBench();
    const [command] = bench.execute();
    const sense = Uint8Array.of(0x70, 0, 5, 0, 0, 0, 0, 10);
    const data = Uint8Array.of(0, 8, ...sense, 0, 0);
    bench.datamover.events.length = 0;
    bench.respond(bench.datamover.take().tag, { status: 2 }, data);
    expect(bench.datamover.events).toEqual(['finish', 'done']);
    expect(command).toMatchObject({
      outcome: DeliveryOutcome.delivered,
      status: 2,
      senseLength: 8,
    });
    expect(command?.sense.subarray(0, 8)).toEqual(sense);
  });

  it('report residuals: positive for underflow, negative for overflow', () => {
    const bench = new SessionBench();
    const commands = [1, 2].map(() => bench.command(DataDirection.in, 4096));
    for (const command of commands) bench.session.lun(0).execute(command);
    bench.respond(bench.datamover.take().tag, { underflow: true, residual: 96 });
    bench.respond(bench.datamover.take().tag, { overflow: true, residual: 512 });
    expect(commands.map(({ residual }) => residual)).toEqual([96, -512]);
  });

  it.each([
    ['all of it', 4096, {}, DeliveryOutcome.delivered, 0],
    ['nothing', 0, {}, DeliveryOutcome.dataMissing, 4096],
    ['a byte less', 4095, {}, DeliveryOutcome.dataMissing, 1],
    ['what is left', 4000, { underflow: true, residual: 96 }, DeliveryOutcome.delivered, 96],
    ['less than that', 3999, { underflow: true, residual: 96 }, DeliveryOutcome.dataMissing, 97],
    ['all but an overflow', 4096, { overflow: true, residual: 9 }, DeliveryOutcome.delivered, -9],
    ['less than all', 4095, { overflow: true, residual: 9 }, DeliveryOutcome.dataMissing, 1],
    ['nothing after an error', 0, { status: 2 }, DeliveryOutcome.delivered, 4096],
  ])('compare a response with what came: %s', (_, placed, response, outcome, residual) => {
    const bench = new SessionBench({ limits: { countsDataIn: true } });
    const command = bench.command(DataDirection.in, 4096);
    bench.session.lun(0).execute(command);
    const sent = bench.datamover.take();
    sent.task!.placedBytes = placed;
    bench.respond(sent.tag, response);
    expect(command).toMatchObject({ outcome, residual });
  });

  it('take the word of a target where nobody counts, and where nothing comes in', () => {
    const trusting = new SessionBench();
    const read = trusting.command(DataDirection.in, 4096);
    trusting.session.lun(0).execute(read);
    trusting.respond(trusting.datamover.take().tag);
    expect(read).toMatchObject({ outcome: DeliveryOutcome.delivered, residual: 0 });
    const counting = new SessionBench({ limits: { countsDataIn: true } });
    for (const direction of [DataDirection.out, DataDirection.none]) {
      const command = counting.command(direction, direction === DataDirection.out ? 4096 : 0);
      counting.session.lun(0).execute(command);
      counting.respond(counting.datamover.take().tag);
      expect(command).toMatchObject({ outcome: DeliveryOutcome.delivered, residual: 0 });
    }
    expect([trusting, counting].map(({ session }) => session.lun(0).verifiesDataIn)).toEqual([
      false,
      true,
    ]);
  });

  it('keep no more sense than has room', () => {
    const bench = new SessionBench();
    const [command] = bench.execute();
    const data = new Uint8Array(2 + 300).fill(0x55);
    data.set([1, 44]);
    bench.respond(bench.datamover.take().tag, { status: 2 }, data);
    expect(command?.senseLength).toBe(252);
  });

  it('that the target could not finish are aborted', () => {
    const bench = new SessionBench();
    const [command] = bench.execute();
    bench.respond(bench.datamover.take().tag, { response: 1 });
    expect(command?.outcome).toBe(DeliveryOutcome.aborted);
  });

  it('may be executed again from their own end', () => {
    const bench = new SessionBench({ window: 1 });
    const port = bench.session.lun(0);
    let rounds = 0;
    const command = bench.command();
    command.done = (ended) => {
      if (++rounds < 10) port.execute(ended);
    };
    port.execute(command);
    while (bench.datamover.sent.length > 0) bench.respond(bench.datamover.take().tag);
    expect(rounds).toBe(10);
  });
});

describe('the window and the slots', () => {
  it('hold back a burst, and let it go in order as the target opens', () => {
    const bench = new SessionBench({ window: 8, cmdSn: 0xffff_fffc });
    const commands = bench.execute(40);
    expect(bench.datamover.sent).toHaveLength(8);
    let outstandingMax = 0;
    const numbers: number[] = [];
    while (bench.datamover.sent.length > 0) {
      outstandingMax = Math.max(outstandingMax, bench.session.outstandingCount);
      const pdu = bench.datamover.take();
      numbers.push(commandOf(pdu).cmdSn);
      bench.respond(pdu.tag);
    }
    expect(outstandingMax).toBe(8);
    expect(bench.done).toEqual(commands);
    expect(numbers).toEqual(commands.map((_, index) => (0xffff_fffc + index) >>> 0));
  });

  it('keep the control PDUs places of their own', () => {
    const bench = new SessionBench({ window: 500, tasks: 20 });
    bench.execute(100);
    expect(bench.datamover.sent).toHaveLength(14);
    expect(bench.session.queueDepth).toBe(14);
    bench.advance(10_000);
    expect(bench.datamover.sent.at(-1)?.opcode).toBe(PduOpcode.nopOut);
  });

  it('are shared by the LUNs in turn', () => {
    const bench = new SessionBench({ window: 1 });
    bench.execute(3, 0);
    bench.execute(2, 1);
    const luns: number[] = [];
    while (bench.datamover.sent.length > 0) {
      const pdu = bench.datamover.take();
      luns.push(commandOf(pdu).lunHigh >>> 16);
      bench.respond(pdu.tag);
    }
    expect(luns).toEqual([0, 1, 0, 1, 0]);
  });

  it('open when a NOP-In says so', () => {
    const bench = new SessionBench({ window: 0 });
    bench.execute();
    expect(bench.datamover.sent).toHaveLength(0);
    bench.nopIn({ initiatorTaskTag: 0xffff_ffff, maxCmdSn: 5 });
    expect(bench.datamover.sent).toHaveLength(1);
  });

  it('end the session when the target never opens', async () => {
    const bench = new SessionBench({ window: 0 });
    const [command] = bench.execute();
    answerPings(bench);
    for (let second = 0; second < 32; second++) {
      bench.advance(1000);
      await turn();
    }
    expect(bench.done).toEqual([command]);
    expect(command?.outcome).toBe(DeliveryOutcome.connectionLost);
  });
});

describe('a lost connection', () => {
  it('ends every command exactly once: those out, those waiting, and those to come', async () => {
    const bench = new SessionBench({ window: 4 });
    const reasons = watchLoss(bench);
    const commands = bench.execute(10);
    bench.datamover.drop(new Error('the cable is out'));
    bench.datamover.drop(new Error('again'));
    const late = bench.command();
    bench.session.lun(0).execute(late);
    expect(bench.done).not.toContain(late);
    await turn();
    expect(new Set(bench.done)).toEqual(new Set([...commands, late]));
    expect(bench.done).toHaveLength(11);
    for (const { outcome } of bench.done) expect(outcome).toBe(DeliveryOutcome.connectionLost);
    expect(reasons).toEqual([expect.stringMatching(/the cable is out/)]);
    expect(bench.session.isUp).toBe(false);
    expect(bench.clock.armedCount).toBe(0);
  });

  it('never ends a command inside execute', () => {
    const bench = new SessionBench();
    bench.datamover.drop(null);
    bench.execute();
    expect(bench.done).toHaveLength(0);
  });

  it('gives commands back even when the datamover cannot let go of its connection', async () => {
    const bench = new SessionBench();
    bench.datamover.terminates = false;
    bench.execute();
    bench.respond(0x999000);
    await turn();
    expect(bench.done).toHaveLength(0);
    bench.advance(10_000);
    expect(bench.done).toHaveLength(1);
    expect(bench.datamover.events.slice(-2)).toEqual(['finish', 'done']);
  });

  it('rejects resets and text that were under way', async () => {
    const bench = new SessionBench();
    const reset = bench.session.lun(0).resetLogicalUnit();
    const text = bench.session.exchangeText([{ key: 'SendTargets', value: 'All' }]);
    bench.datamover.drop(null);
    await expect(reset).rejects.toMatchObject({ code: 'iscsi-connection-lost' });
    await expect(text).rejects.toMatchObject({ code: 'iscsi-text-rejected' });
    await expect(bench.session.lun(0).resetLogicalUnit()).rejects.toMatchObject({
      code: 'iscsi-connection-lost',
    });
  });
});

describe.each([
  // So that a target does not run out of work requests.
  ['reads', DataDirection.in],
  // So that a target that waits so long for data, and no longer, gets it in time.
  ['writes', DataDirection.out],
])('%s', (_, direction) => {
  function issue(bench: SessionBench, count: number, length: number): ScsiCommand[] {
    return Array.from({ length: count }, () => {
      const command = bench.command(direction, length);
      bench.session.lun(0).execute(command);
      return command;
    });
  }

  it('have at most 8 MiB outstanding', () => {
    const bench = new SessionBench({ limits: { transferBytesMax: 4 << 20 }, window: 32 });
    const [first] = issue(bench, 3, 4 << 20);
    // In order: what would have room waits behind what has not.
    bench.execute();
    expect(bench.datamover.sent).toHaveLength(2);
    bench.respond(bench.datamover.take().tag);
    expect(bench.done).toEqual([first]);
    expect(bench.datamover.sent).toHaveLength(3);
  });

  it('that are longer go alone', () => {
    const bench = new SessionBench({ limits: { transferBytesMax: 16 << 20 }, window: 32 });
    issue(bench, 2, 16 << 20);
    expect(bench.datamover.sent).toHaveLength(1);
    bench.respond(bench.datamover.take().tag);
    expect(bench.datamover.sent).toHaveLength(1);
  });
});

describe('closing', () => {
  it('fails what waits, lets the rest finish, logs out, and tells no listener', async () => {
    const bench = new SessionBench({ window: 1 });
    const reasons = watchLoss(bench);
    const [active, waiting] = bench.execute(2);
    const closed = bench.session.close();
    await turn();
    expect(bench.done).toEqual([waiting]);
    bench.respond(bench.datamover.take().tag);
    expect(bench.done).toEqual([waiting, active]);
    expect(active?.outcome).toBe(DeliveryOutcome.delivered);
    const logout = bench.datamover.take();
    expect(logout.opcode).toBe(PduOpcode.logoutRequest);
    bench.logout(logout.tag);
    await closed;
    await bench.session.close();
    expect(reasons).toEqual([]);
    expect(bench.datamover.isTerminated).toBe(true);
    expect(bench.clock.armedCount).toBe(0);
  });

  it('leaves it to the target to close after the logout, for a while', async () => {
    const bench = new SessionBench();
    bench.datamover.closesAfterLogout = false;
    const closed = bench.session.close();
    bench.logout(bench.datamover.take().tag);
    await turn();
    expect(bench.datamover.isTerminated).toBe(false);
    bench.advance(1000);
    await closed;
    expect(bench.datamover.isTerminated).toBe(true);
    expect(bench.clock.armedCount).toBe(0);
  });

  it('ends at once when the target closes instead of answering', async () => {
    const bench = new SessionBench();
    const closed = bench.session.close();
    bench.datamover.drop(null);
    await closed;
  });

  it('does not wait for ever, neither for commands nor for the logout', async () => {
    const bench = new SessionBench({ timeouts: { pingIntervalMs: 1e9 } });
    const [command] = bench.execute();
    const closed = bench.session.close();
    bench.advance(15_500);
    expect(bench.datamover.sent.at(-1)?.opcode).toBe(PduOpcode.logoutRequest);
    bench.advance(15_500);
    await closed;
    expect(command?.outcome).toBe(DeliveryOutcome.connectionLost);
  });
});

describe('ports', () => {
  it('are one object per LUN, named after it, with the limits of the path', () => {
    const bench = new SessionBench({ limits: { transferBytesMax: 65536 } });
    const port = bench.session.lun(300);
    expect(bench.session.lun(300)).toBe(port);
    expect(port.name).toBe('iqn.2026-11.io.example:array/300');
    expect(port.transferBytesMax).toBe(65536);
    expect(port.queueDepth).toBe(64);
  });

  it('exist only for LUNs that can be written', () => {
    const bench = new SessionBench();
    for (const lun of [-1, 0x4000, 1.5, NaN]) {
      expect(() => bench.session.lun(lun)).toThrow(ConfigError);
    }
  });

  it('tell the parameters of the session', () => {
    const bench = new SessionBench({ declared: { TargetAlias: 'lab' } });
    expect(bench.session.parameters).toMatchObject({
      isid: '800000010002',
      tsih: 7,
      immediateBytesMax: 8192,
      commandWindow: 64,
      declared: { TargetAlias: 'lab' },
    });
  });
});
