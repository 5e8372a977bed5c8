import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import type { IwarpOptions } from '../../../src/transport/iwarp/transport.js';
import { RawPeer, RawServer } from './raw-peer.js';
import type { EventLog } from '../transport/events.js';
import { Endpoint, adopt, defaultEndpointOptions, listen, resolve } from '../transport/pair.js';

/** ib_iser's connection header: zero based virtual addresses are not supported. */
export const iserHeader = Buffer.from('80000000', 'hex');
export const anyAddress = { host: '127.0.0.1', port: 0 };

const cleanups: (() => unknown)[] = [];

/** Has `action` run when the current test ends. */
export function onCleanUp(action: () => unknown): void {
  cleanups.push(action);
}

/** Ends everything that the functions below began; for `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const action of cleanups.splice(0).reverse()) await action();
}

/** Our initiator, and a peer that the test plays. */
export async function calling(options: IwarpOptions = {}) {
  const server = await RawServer.open();
  onCleanUp(() => server.close());
  const transport = new IwarpTransport(options);
  const address = { host: '127.0.0.1', port: server.port };
  const { id, events } = await resolve(transport, address);
  const endpoint = new Endpoint(id, events, {
    ...defaultEndpointOptions,
    responderResources: 16,
    initiatorDepth: 1,
    privateData: iserHeader,
  });
  onCleanUp(() => endpoint.close());
  id.connect(endpoint.parameters);
  const peer = await server.accepted();
  return { endpoint, events, peer };
}

/** Our responder, and a caller that the test plays. */
export async function called(options: IwarpOptions = {}) {
  const transport = new IwarpTransport(options);
  const { listener, events, address } = await listen(transport, anyAddress);
  onCleanUp(() => listener.destroy());
  const call = async (): Promise<RawPeer> => {
    const peer = await RawPeer.connect(address.port);
    onCleanUp(() => peer.socket.destroy());
    return peer;
  };
  return { transport, listener, events, call };
}

/** Takes the next caller, whose request is the one of Linux's ib_iser. */
export async function acceptNext(events: EventLog): Promise<Endpoint> {
  const { id } = await events.next('connectRequest');
  const endpoint = adopt(id, { privateData: iserHeader });
  onCleanUp(() => endpoint.close());
  id.accept(endpoint.parameters);
  return endpoint;
}
