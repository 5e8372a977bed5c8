import type { DatamoverUnderTest } from '../../compliance/datamover-suite.js';
import { ScriptedDatamover } from './datamover.js';
import type { ScriptedTask } from './datamover.js';

/** The scripted datamover; the test is its peer. */
export function scriptedDatamoverUnderTest(): DatamoverUnderTest {
  const connection = new ScriptedDatamover({ countsDataIn: true });
  const taskOf = (tag: number): ScriptedTask => {
    const task = connection.sent.find((pdu) => pdu.tag === tag && pdu.task !== null)?.task;
    if (task === undefined || task === null) throw new Error(`no command ${tag} has come`);
    return task;
  };
  return {
    connection,
    peer: {
      pdus: () =>
        connection.sent.map(({ bhs, data }) => ({
          bhs: Buffer.from(bhs),
          data: Buffer.from(data),
        })),
      // A PDU takes a while, as on any wire.
      send: (bhs, data) => queueMicrotask(() => connection.deliver(bhs, data)),
      place: (tag, bytes) => {
        const task = taskOf(tag);
        task.slab?.bytes.set(bytes, task.slabOffset);
        task.placedBytes = bytes.length;
        return Promise.resolve();
      },
      fetch: (tag, length) => {
        const { slab, slabOffset } = taskOf(tag);
        return Promise.resolve(
          slab === null ? null : Buffer.from(slab.bytes.subarray(slabOffset, slabOffset + length)),
        );
      },
      disconnect: () => queueMicrotask(() => connection.drop(new Error('the peer is gone'))),
    },
    close: () => connection.terminate(),
  };
}
