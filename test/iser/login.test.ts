import { afterEach, describe, expect, it } from 'vitest';
import { bhsOf, IserBed, Op } from '../support/iser/upper-layer.js';
import { settle } from '../support/waiting.js';

let bed: IserBed;

afterEach(() => bed.close());

describe('the login phase', () => {
  it('takes turns over as many exchanges as iSCSI wants, with up to 8192 bytes each way', async () => {
    bed = await IserBed.connected();
    const text = Buffer.alloc(8192, 'k=v');
    for (let round = 1; round <= 5; round++) {
      bed.connection.sendControl(bhsOf(Op.login, round, text.length), text);
      expect((await bed.far.received(round)).data.equals(text)).toBe(true);
      bed.far.send(bhsOf(Op.loginResponse, round, text.length), text);
      const { tag, data } = await bed.upper.received(round);
      expect(tag).toBe(round);
      expect(data.equals(text)).toBe(true);
    }
    expect(bed.connection.rdma.postedReceiveCount).toBe(0);
  });

  it('goes on when the next request is sent from inside the notification of a response', async () => {
    bed = await IserBed.connected();
    bed.upper.onPdu = ({ tag }) => {
      if (tag < 3) bed.connection.sendControl(bhsOf(Op.login, tag + 1), new Uint8Array());
    };
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    for (let round = 1; round <= 3; round++) {
      await bed.far.received(round);
      bed.far.send(bhsOf(Op.loginResponse, round, 64), Buffer.alloc(64, round));
      expect((await bed.upper.received(round)).data.equals(Buffer.alloc(64, round))).toBe(true);
    }
  });

  it('may go on from inside of the call that brings a response', async () => {
    bed = await IserBed.connected();
    const text = Buffer.alloc(8192, 'k=v');
    bed.far.onPdu = (pdu) =>
      bed.far.send(bhsOf(Op.loginResponse, pdu.bhs.readUInt32BE(16), text.length), text);
    bed.upper.onPdu = ({ tag }) => {
      if (tag < 5) bed.connection.sendControl(bhsOf(Op.login, tag + 1), new Uint8Array());
    };
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    await bed.upper.received(5);
    expect(bed.upper.pdus.map(({ tag }) => tag)).toEqual([1, 2, 3, 4, 5]);
    expect(bed.connection.rdma.postedReceiveCount).toBe(0);
  });

  it('has receives for full feature phase before the target can use them', async () => {
    bed = await IserBed.connected();
    bed.upper.tasks = bed.connection.allocateTasks(4);
    bed.connection.enterFullFeature();
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    await bed.far.received(1);
    bed.far.send(bhsOf(Op.loginResponse, 1));
    bed.far.send(bhsOf(Op.nopIn, 2));
    await bed.upper.received(2);
    expect(bed.upper.pdus.map(({ opcode }) => opcode)).toEqual([Op.loginResponse, Op.nopIn]);
  });

  it('may go on after full feature phase was expected', async () => {
    bed = await IserBed.connected();
    bed.upper.tasks = bed.connection.allocateTasks(4);
    bed.connection.enterFullFeature();
    for (let round = 1; round <= 3; round++) {
      bed.connection.sendControl(bhsOf(Op.login, round), new Uint8Array());
      await bed.far.received(round);
      bed.far.send(bhsOf(Op.loginResponse, round, 8192), Buffer.alloc(8192));
      await bed.upper.received(round);
    }
    expect(bed.connection.state).toBe('up');
  });

  it('ends with the connection when the target answers twice', async () => {
    bed = await IserBed.connected();
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    await bed.far.received(1);
    bed.far.send(bhsOf(Op.loginResponse, 1));
    bed.far.send(bhsOf(Op.loginResponse, 1));
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
    expect(bed.upper.pdus).toHaveLength(1);
  });

  it('ends with the connection when the target speaks first', async () => {
    bed = await IserBed.connected();
    bed.far.send(bhsOf(Op.loginResponse, 1));
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
  });

  it('ends with the connection when the response is longer than 8192 bytes', async () => {
    bed = await IserBed.connected();
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    await bed.far.received(1);
    bed.far.send(bhsOf(Op.loginResponse, 1, 8196), Buffer.alloc(8196));
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
    expect(bed.upper.pdus).toHaveLength(0);
  });

  it('ends with the connection when the target says Hello', async () => {
    bed = await IserBed.connected();
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    await bed.far.received(1);
    const hello = new Uint8Array(28);
    hello[0] = 0x30;
    bed.far.sendRaw(hello);
    const error = await bed.upper.ended;
    expect(error).toMatchObject({ code: 'iser-protocol' });
    expect(error!.message).toContain('helloReply');
  });

  it('holds a response that comes before its request is known to have left', async () => {
    bed = await IserBed.connected();
    let posted = true;
    bed.upper.onPdu = () => (posted = bed.connection.rdma.uncoveredCount > 0);
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    bed.far.send(bhsOf(Op.loginResponse, 1));
    await bed.upper.received(1);
    expect(posted).toBe(false);
    expect(bed.connection.state).toBe('up');
  });

  it('holds the last response, too, and no longer than until its request is known to have left', async () => {
    bed = await IserBed.connected();
    bed.upper.tasks = bed.connection.allocateTasks(4);
    bed.connection.enterFullFeature();
    // The target's doorbell is answered first, so the response is seen before the completion of the request.
    bed.far.send(bhsOf(Op.loginResponse, 1));
    bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
    await bed.far.received(1);
    await settle();
    expect(bed.upper.pdus.map(({ opcode }) => opcode)).toEqual([Op.loginResponse]);
    expect(bed.connection.rdma.uncoveredCount).toBe(0);
  });

  it('needs tasks before full feature phase, and gives them once', async () => {
    bed = await IserBed.connected();
    expect(() => bed.connection.enterFullFeature()).toThrow('without tasks');
    bed.connection.allocateTasks(1);
    expect(() => bed.connection.allocateTasks(1)).toThrow('once');
    expect(() => bed.connection.sendCommand({} as never)).toThrow('before full feature');
    await settle();
  });
});
