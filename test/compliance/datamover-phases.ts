import { describe, expect, it } from 'vitest';
import { Op, bhsOf } from '../support/iser/upper-layer.js';
import { pattern } from '../support/target/cdbs.js';
import type { DatamoverContext } from './datamover-suite.js';

export function datamoverPhaseTests(context: DatamoverContext): void {
  describe('a datamover', () => {
    it('says whom it is connected to, and what it carries', () => {
      const { limits, peerName } = context.connection;
      expect(peerName).not.toBe('');
      const { countsDataIn, ...numbers } = limits;
      expect(typeof countsDataIn).toBe('boolean');
      for (const [name, value] of Object.entries(numbers)) {
        expect(Number.isInteger(value), name).toBe(true);
        expect(value, name).toBeGreaterThanOrEqual(name === 'receivesPerAbort' ? 0 : 1);
      }
      expect(limits.receiveDataBytesMax).toBeGreaterThanOrEqual(512);
      expect(limits.immediateBytesMax).toBeLessThanOrEqual(limits.transferBytesMax);
      expect(limits.controlPdusMax).toBeLessThan(limits.tasksMax);
    });

    it('allocates tasks once, and no more than it said', () => {
      const { connection } = context;
      const { tasksMax } = connection.limits;
      expect(() => connection.allocateTasks(tasksMax + 1)).toThrow();
      const tasks = connection.allocateTasks(tasksMax);
      expect(tasks).toHaveLength(tasksMax);
      expect(new Set(tasks).size).toBe(tasksMax);
      expect(tasks.every((task) => !task.isActive)).toBe(true);
      expect(() => connection.allocateTasks(1)).toThrow();
    });

    it('has no full feature phase without tasks, and no commands before it', () => {
      const { connection } = context;
      expect(() => connection.enterFullFeature()).toThrow();
      const [task] = connection.allocateTasks(1);
      expect(() => connection.sendCommand(task!)).toThrow();
      expect(task!.isActive).toBe(false);
    });

    it('carries a login of several exchanges, from inside of its notifications too', async () => {
      const { connection, upper, peer } = context;
      upper.onPdu = () => {
        if (upper.pdus.length < 5) {
          connection.sendControl(bhsOf(Op.login, upper.pdus.length), new Uint8Array());
        }
      };
      connection.sendControl(bhsOf(Op.login, 0), new Uint8Array());
      for (let count = 1; count <= 5; count++) {
        const { bhs } = await context.arrived(count);
        expect(bhs.readUInt32BE(16)).toBe(count - 1);
        peer.send(bhsOf(Op.loginResponse, count - 1, count), Buffer.alloc(count, count));
        const { data } = await upper.received(count);
        expect(data.equals(Buffer.alloc(count, count))).toBe(true);
      }
    });
  });

  describe('a control PDU', () => {
    it('is copied: its bytes are the caller’s again at once', async () => {
      await context.fullFeature();
      const bhs = bhsOf(Op.nopOut, 77, 1000);
      const data = pattern(1000);
      context.connection.sendControl(bhs, data);
      const [sentBhs, sentData] = [bhsOf(Op.nopOut, 77, 1000), pattern(1000)];
      bhs.fill(0xee);
      data.fill(0xee);
      const pdu = await context.arrived(2);
      expect(pdu.bhs.equals(sentBhs)).toBe(true);
      expect(pdu.data.subarray(0, 1000).equals(sentData)).toBe(true);
    });

    it('has a BHS of 48 bytes, and as much data as the limits say', async () => {
      const { connection } = context;
      await context.fullFeature();
      const { controlDataBytesMax, receiveDataBytesMax } = connection.limits;
      const nothing = new Uint8Array();
      expect(() => connection.sendControl(new Uint8Array(47), nothing)).toThrow();
      const tooLong = new Uint8Array(controlDataBytesMax + 1);
      expect(() => connection.sendControl(bhsOf(Op.nopOut, 1, tooLong.length), tooLong)).toThrow();
      const longest = pattern(controlDataBytesMax);
      connection.sendControl(bhsOf(Op.nopOut, 1, longest.length), longest);
      expect((await context.arrived(2)).data.equals(longest)).toBe(true);
      const answer = pattern(receiveDataBytesMax, 2);
      context.peer.send(bhsOf(Op.nopIn, 1, answer.length), answer);
      expect((await context.upper.received(2)).data.equals(answer)).toBe(true);
    });

    it('may be one of as many unanswered ones as the limits say, beside all commands', async () => {
      const { connection, upper, peer } = context;
      const { tasksMax, controlPdusMax } = connection.limits;
      const tasks = await context.fullFeature(tasksMax);
      const commands = tasks.slice(0, tasksMax - controlPdusMax);
      for (const [tag, task] of commands.entries()) upper.command(task, tag, 0);
      for (let index = 0; index < controlPdusMax; index++) {
        connection.sendControl(bhsOf(Op.nopOut, 0x1000 + index), new Uint8Array());
      }
      await context.arrived(1 + tasksMax);
      const tags = peer.pdus().map(({ bhs }) => bhs.readUInt32BE(16));
      const controls = Array.from({ length: controlPdusMax }, (_, index) => 0x1000 + index);
      expect(tags.slice(1)).toEqual([...commands.keys(), ...controls]);
      for (const tag of tags.slice(1)) {
        peer.send(bhsOf(tag < 0x1000 ? Op.response : Op.nopIn, tag));
      }
      await upper.received(1 + tasksMax);
      expect(upper.pdus.slice(1).map(({ tag }) => tag)).toEqual(tags.slice(1));
      expect(tasks.every((task) => !task.isActive)).toBe(true);
    });
  });
}
