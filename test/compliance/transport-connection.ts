import { describe, expect, it } from 'vitest';
import { VerbsError } from '../../src/transport/verbs.js';
import {
  Endpoint,
  adopt,
  connectPair,
  defaultEndpointOptions,
  listen,
  resolve,
} from '../support/transport/pair.js';
import { EventLog } from '../support/transport/events.js';
import type { TransportContext } from './transport-suite.js';
import { turn } from '../support/waiting.js';

/** The most private data that every transport carries in both directions (InfiniBand's connect request). */
const PRIVATE_DATA_BYTES = 56;

function bytesFrom(start: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (start + index) & 0xff);
}

export function connectionTests(context: TransportContext): void {
  describe('connection manager', () => {
    it('connects, tells both sides, and disconnects both sides', async () => {
      const pair = await context.pair();
      pair.active.id.disconnect();
      const [seen, caused] = await Promise.all([
        pair.passive.events.next('disconnected'),
        pair.active.events.next('disconnected'),
      ]);
      expect(seen.reason).toBeNull();
      expect(caused.reason).toBeNull();
      expect(pair.active.events.types).toEqual([
        'addressResolved',
        'routeResolved',
        'established',
        'disconnected',
      ]);
      expect(pair.passive.events.types).toEqual(['established', 'disconnected']);
    });

    it.each([0, 1, PRIVATE_DATA_BYTES])(
      'carries %i bytes of private data in both directions',
      async (length) => {
        const offered = bytesFrom(1, length);
        const answered = bytesFrom(101, length);
        const pair = await context.pair({
          active: { privateData: offered },
          passive: { privateData: answered },
        });
        expect(Buffer.from(pair.seenByPassive.privateData)).toEqual(Buffer.from(offered));
        expect(Buffer.from(pair.seenByActive.privateData)).toEqual(Buffer.from(answered));
      },
    );

    it('tells each side the read depths of the other', async () => {
      const pair = await context.pair({
        active: { responderResources: 7, initiatorDepth: 3 },
        passive: { responderResources: 5, initiatorDepth: 2 },
      });
      expect(pair.seenByPassive).toMatchObject({ responderResources: 7, initiatorDepth: 3 });
      // The answer may be lowered to what the offer makes of use, but never raised.
      expect(pair.seenByActive.responderResources).toBeLessThanOrEqual(5);
      expect(pair.seenByActive.responderResources).toBeGreaterThanOrEqual(3);
      expect(pair.seenByActive.initiatorDepth).toBe(2);
    });

    it('hands a rejection and its private data to the caller', async () => {
      const { transports } = context;
      const { listener, events, address } = await listen(transports.passive, transports.address);
      const caller = await startCall(context, address);
      const request = await events.next('connectRequest');
      request.id.reject(bytesFrom(33, PRIVATE_DATA_BYTES));
      const rejected = await caller.events.next('rejected');
      expect(Buffer.from(rejected.privateData)).toEqual(
        Buffer.from(bytesFrom(33, PRIVATE_DATA_BYTES)),
      );
      expect(rejected.reason).not.toBe('');
      request.id.destroy();
      await caller.close();
      listener.destroy();
    });

    it('flushes the receives that were posted for a connection that was rejected', async () => {
      const { transports } = context;
      const { listener, events, address } = await listen(transports.passive, transports.address);
      const caller = await startCall(context, address);
      const receive = caller.receive(caller.register(64));
      const request = await events.next('connectRequest');
      request.id.reject(new Uint8Array());
      expect((await receive.completion).status).toBe('flushed');
      request.id.destroy();
      await caller.close();
      listener.destroy();
    });

    it('tells a caller whom nobody hears that the address is unreachable', async () => {
      const { transports } = context;
      const { listener, address } = await listen(transports.passive, transports.address);
      listener.destroy();
      await turn();
      const caller = await startCall(context, address);
      const { reason } = await caller.events.next('unreachable');
      expect(reason).not.toBe('');
      await caller.close();
    });

    it('refuses to bind an address that somebody listens at', async () => {
      const { transports } = context;
      const { listener, address } = await listen(transports.passive, transports.address);
      const second = transports.passive.createId(() => undefined);
      await expect(second.listen(address, 1)).rejects.toBeInstanceOf(VerbsError);
      second.destroy();
      listener.destroy();
    });

    it('picks a different free port for every listener that asks for one', async () => {
      const { transports } = context;
      const first = await listen(transports.passive, { ...transports.address, port: 0 });
      const second = await listen(transports.passive, { ...transports.address, port: 0 });
      expect(first.address.port).toBeGreaterThan(0);
      expect(second.address.port).not.toBe(first.address.port);
      first.listener.destroy();
      second.listener.destroy();
    });

    it('keeps several connections of one listener apart', async () => {
      const { transports } = context;
      const { listener, events, address } = await listen(transports.passive, transports.address);
      const callers = await Promise.all(
        [1, 2, 3].map((number) =>
          startCall(context, address, { privateData: Uint8Array.of(number) }),
        ),
      );
      const answered: Endpoint[] = [];
      for (let count = 0; count < callers.length; count++) {
        const { id, parameters } = await events.next('connectRequest');
        const endpoint = adopt(id, { privateData: Uint8Array.of(parameters.privateData[0]! + 10) });
        endpoint.id.accept(endpoint.parameters);
        answered.push(endpoint);
      }
      for (const [index, caller] of callers.entries()) {
        const { parameters } = await caller.events.next('established');
        expect([...parameters.privateData]).toEqual([index + 11]);
      }
      for (const endpoint of [...callers, ...answered]) await endpoint.close();
      listener.destroy();
    });

    it('calls no event handler from inside a call', async () => {
      const { transports } = context;
      const {
        listener,
        events: calls,
        address,
      } = await listen(transports.passive, transports.address);
      let isInside = false;
      let count = 0;
      const events = new EventLog();
      const id = transports.active.createId((event) => {
        expect(isInside).toBe(false);
        count++;
        events.handler(event);
      });
      const inside = (call: () => void): void => {
        isInside = true;
        call();
        isInside = false;
      };
      inside(() => id.resolveAddress(address, 1000));
      await events.next('addressResolved');
      inside(() => id.resolveRoute(1000));
      await events.next('routeResolved');
      const endpoint = new Endpoint(id, events, defaultEndpointOptions);
      inside(() => id.connect(endpoint.parameters));
      const peer = adopt((await calls.next('connectRequest')).id);
      peer.id.accept(peer.parameters);
      await events.next('established');
      inside(() => id.disconnect());
      await events.next('disconnected');
      expect(count).toBe(4);
      await endpoint.close();
      await peer.close();
      listener.destroy();
    });

    it('tells the peer, and nobody else, when an id is destroyed', async () => {
      const pair = await context.pair();
      pair.active.id.destroy();
      await pair.passive.events.next('disconnected');
      await turn();
      expect(pair.active.events.types.at(-1)).toBe('established');
    });

    it('delivers no event after destroy, whatever was under way', async () => {
      const { transports } = context;
      const { listener, address } = await listen(transports.passive, transports.address);
      const events = new EventLog();
      const early = transports.active.createId(events.handler);
      early.resolveAddress(address, 1000);
      early.destroy();
      const caller = await startCall(context, address);
      await caller.close();
      const seen = caller.events.all.length;
      // A connection that is made and ended afterwards gives anything late the time to show.
      listener.destroy();
      const other = await connectPair(transports);
      await other.close();
      expect(events.all).toEqual([]);
      expect(caller.events.all).toHaveLength(seen);
    });

    it('withholds an event that was on its way when the id was destroyed', async () => {
      const { active, passive } = await context.pair();
      active.queuePair.setError();
      active.id.destroy();
      await passive.events.next('disconnected');
      await turn();
      expect(active.events.types).not.toContain('disconnected');
    });

    it('refuses calls that do not fit the state of the id', () => {
      const id = context.transports.active.createId(() => undefined);
      expect(() => id.connect(defaultEndpointOptions)).toThrow(VerbsError);
      expect(() => id.accept(defaultEndpointOptions)).toThrow(VerbsError);
      id.destroy();
      id.destroy();
    });
  });

  describe('device', () => {
    it('describes itself', async () => {
      const { active } = await context.pair();
      const { attributes } = active.device;
      expect(attributes.nodeGuid).toMatch(/^([0-9a-f]{4}:){3}[0-9a-f]{4}$/);
      expect(active.device.name).not.toBe('');
      expect(attributes.workRequestsMax).toBeGreaterThanOrEqual(256);
      expect(attributes.sgesMax).toBeGreaterThanOrEqual(2);
      expect(attributes.readDepthResponderMax).toBeGreaterThanOrEqual(1);
      expect(attributes.readDepthInitiatorMax).toBeGreaterThanOrEqual(1);
      expect(attributes.completionVectors).toBeGreaterThanOrEqual(1);
    });

    it('refuses a queue that is larger than its attributes say', async () => {
      const { active } = await context.pair();
      const { id } = await resolve(context.transports.active, {
        ...context.transports.address,
        port: 1,
      });
      const tooMany = active.device.attributes.workRequestsMax + 1;
      expect(() =>
        id.createQueuePair({
          protectionDomain: active.domain,
          completionQueue: active.completionQueue,
          sendRequestsMax: tooMany,
          receiveRequestsMax: 1,
        }),
      ).toThrow(VerbsError);
      id.destroy();
    });

    it('refuses to register memory outside of its slab', async () => {
      const { active } = await context.pair();
      const { slab } = active.register(100);
      const register = (offset: number, length: number) => () =>
        active.domain.registerMemory({ slab, offset, length }, 0);
      expect(register(1, 100)).toThrow(VerbsError);
      expect(register(-1, 10)).toThrow(VerbsError);
      expect(register(0, -1)).toThrow(VerbsError);
    });

    it('gives every region keys of its own', async () => {
      const { active } = await context.pair();
      const keys = Array.from({ length: 200 }, () => active.register(16).region.rkey);
      expect(new Set(keys).size).toBe(keys.length);
      expect(keys).not.toContain(0);
    });
  });
}

async function startCall(
  context: TransportContext,
  address: { host: string; port: number },
  options: Partial<typeof defaultEndpointOptions> = {},
): Promise<Endpoint> {
  const { id, events } = await resolve(context.transports.active, address);
  const endpoint = new Endpoint(id, events, { ...defaultEndpointOptions, ...options });
  endpoint.id.connect(endpoint.parameters);
  return endpoint;
}
