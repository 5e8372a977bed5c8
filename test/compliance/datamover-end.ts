import { describe, expect, it } from 'vitest';
import { Slab } from '../../src/common/slab.js';
import { Op, bhsOf } from '../support/iser/upper-layer.js';
import { settle, until } from '../support/waiting.js';
import type { DatamoverContext } from './datamover-suite.js';

export function datamoverEndTests(context: DatamoverContext): void {
  /** Commands of all tasks, which the peer has got. */
  const busy = async (): Promise<void> => {
    const tasks = await context.fullFeature();
    const slab = new Slab(8192);
    for (const [tag, task] of tasks.entries()) {
      if (tag % 2 === 0) context.upper.read(task, tag, slab, 0, 4096);
      else context.upper.writeImmediate(task, tag, slab, 4096, 1024);
    }
    await context.arrived(1 + tasks.length);
  };

  describe('the end of a connection', () => {
    it('by us is told without an error, once, before terminate resolves', async () => {
      const { connection, upper } = context;
      await busy();
      const told: number[] = [];
      const ends = [connection.terminate(), connection.terminate()].map((end) =>
        end.then(() => told.push(upper.terminateCount)),
      );
      expect(upper.terminateCount).toBe(0);
      await Promise.all(ends);
      expect(told).toEqual([1, 1]);
      expect(await upper.ended).toBeNull();
      expect(upper.activeAtEnd).toBe(0);
      await connection.terminate();
      expect(upper.terminateCount).toBe(1);
    });

    it.each(['before the login', 'after the login', 'under load'])(
      'by the peer %s is told with an error, once',
      async (when) => {
        const { upper, peer, connection } = context;
        if (when === 'after the login') await context.fullFeature();
        if (when === 'under load') await busy();
        peer.disconnect();
        expect(await upper.ended).toBeInstanceOf(Error);
        expect(upper.activeAtEnd).toBe(0);
        await connection.terminate();
        expect(upper.terminateCount).toBe(1);
      },
    );

    it('before anybody listens is told to who comes, and not while he comes', async () => {
      context.peer.disconnect();
      await settle();
      expect(await context.upper.ended).toBeInstanceOf(Error);
    });

    it('may be asked for from inside of a notification', async () => {
      const { connection, upper, peer } = context;
      await busy();
      const ends: Promise<void>[] = [];
      upper.onPdu = () => void ends.push(connection.terminate());
      for (let tag = 0; tag < 8; tag++) peer.send(bhsOf(Op.response, tag));
      await until(() => ends.length > 0);
      await Promise.all(ends);
      expect(await upper.ended).toBeNull();
      expect(upper.pdus).toHaveLength(2);
    });

    it('makes calls that come before it is told do nothing, or end with it', async () => {
      const { connection, upper } = context;
      const [task, late] = await context.fullFeature();
      const slab = new Slab(4096);
      upper.read(task!, 1, slab, 0, 4096);
      await context.arrived(2);
      const ended = connection.terminate();
      connection.sendControl(bhsOf(Op.nopOut, 2), new Uint8Array());
      upper.read(late!, 3, slab, 0, 4096);
      connection.finishTask(task!);
      expect(task!.isActive).toBe(false);
      await ended;
      expect(upper.activeAtEnd).toBe(0);
      expect(late!.isActive).toBe(false);
    });

    it('leaves nothing to send, and lets nothing come up', async () => {
      const { connection, upper, peer } = context;
      await context.fullFeature();
      await connection.terminate();
      const count = upper.calls.length;
      const came = peer.pdus().length;
      connection.sendControl(bhsOf(Op.nopOut, 2), new Uint8Array());
      connection.enterFullFeature();
      peer.send(bhsOf(Op.nopIn, 0xffff_ffff));
      await settle();
      expect(upper.calls).toHaveLength(count);
      expect(peer.pdus()).toHaveLength(came);
    });
  });
}
