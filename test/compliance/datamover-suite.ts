import { afterEach, beforeEach, describe, expect } from 'vitest';
import type { DatamoverConnection, DatamoverTask } from '../../src/iscsi/datamover.js';
import { WatchedUpperLayer } from '../support/iscsi/watched-upper-layer.js';
import { Op, bhsOf } from '../support/iser/upper-layer.js';
import { settle, until } from '../support/waiting.js';
import { datamoverCommandTests } from './datamover-commands.js';
import { datamoverEndTests } from './datamover-end.js';
import { datamoverPhaseTests } from './datamover-phases.js';

/** What the datamover's peer can be told, and what it has got. */
export interface DatamoverPeer {
  /** The PDUs that have come so far, copied. */
  pdus(): readonly { readonly bhs: Buffer; readonly data: Buffer }[];
  send(bhs: Uint8Array, data?: Uint8Array): void;
  /** Puts bytes into the buffer of the read that was sent under this tag, from its start on. */
  place(tag: number, bytes: Uint8Array): Promise<unknown>;
  /** Takes the data of the write that was sent under this tag. */
  fetch(tag: number, length: number): Promise<Buffer | null>;
  /** Ends the connection. */
  disconnect(): void;
}

/** A datamover that is connected and has no handler yet. */
export interface DatamoverUnderTest {
  readonly connection: DatamoverConnection;
  readonly peer: DatamoverPeer;
  close(): Promise<void>;
}

/** What each group of tests works with; made anew for every test. */
export interface DatamoverContext {
  readonly connection: DatamoverConnection;
  readonly peer: DatamoverPeer;
  /** The iSCSI layer's place; taken at its first use. */
  readonly upper: WatchedUpperLayer;
  /** Allocates tasks, and logs in with one exchange. */
  fullFeature(tasks?: number): Promise<readonly DatamoverTask[]>;
  /** The PDU that came as the `count`th. */
  arrived(count: number): Promise<{ readonly bhs: Buffer; readonly data: Buffer }>;
}

export const LOGIN_TAG = 0x7001;

/**
 * What `iscsi/datamover.ts` promises, as tests that every datamover passes, and the fake that the tests of iSCSI use.
 * None of its upward calls may come inside of a downward one: the upper layer here looks each time.
 */
export function datamoverSuite(
  name: string,
  setup: () => DatamoverUnderTest | Promise<DatamoverUnderTest>,
): void {
  describe(`${name} as a datamover`, () => {
    let current: DatamoverUnderTest | null = null;
    let upper: WatchedUpperLayer | null = null;
    const under = (): DatamoverUnderTest => {
      if (current === null) throw new Error('the suite is not set up');
      return current;
    };
    const context: DatamoverContext = {
      get upper() {
        return (upper ??= new WatchedUpperLayer(under().connection));
      },
      get connection() {
        return context.upper.connection;
      },
      get peer() {
        return under().peer;
      },
      async fullFeature(tasks = 8) {
        const { connection } = context;
        const before = under().peer.pdus().length;
        context.upper.tasks = connection.allocateTasks(tasks);
        connection.enterFullFeature();
        connection.sendControl(bhsOf(Op.login, LOGIN_TAG), new Uint8Array());
        await context.arrived(before + 1);
        under().peer.send(bhsOf(Op.loginResponse, LOGIN_TAG));
        await context.upper.received(context.upper.pdus.length + 1);
        return context.upper.tasks;
      },
      async arrived(count) {
        await until(() => under().peer.pdus().length >= count);
        return under().peer.pdus()[count - 1]!;
      },
    };

    beforeEach(async () => {
      upper = null;
      current = await setup();
    });

    afterEach(async () => {
      const watched = context.upper;
      await under().close();
      await settle();
      expect(watched.calledInside).toEqual([]);
      expect(watched.terminateCount).toBe(1);
      expect(watched.activeAtEnd).toBe(0);
    });

    datamoverPhaseTests(context);
    datamoverCommandTests(context);
    datamoverEndTests(context);
  });
}
