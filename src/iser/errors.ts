import type { ErrorFacts } from '../common/errors.js';
import { IserNbdError, messageOf } from '../common/errors.js';
import type { ConnectionEvent, PortalAddress } from '../transport/verbs.js';

/** Why an iSER connection failed. The first group is for `connectIser`, the second for an established connection. */
export type IserConnectionErrorCode =
  /** The portal's host name has no address. */
  | 'iser-address'
  | 'iser-unreachable'
  | 'iser-timed-out'
  | 'iser-rejected'
  /** `terminate` was called before the connection was established. */
  | 'iser-cancelled'
  /** The peer answers, but does not speak the transport's protocol. */
  | 'iser-not-iwarp'
  /** The RDMA device refused queues or memory. */
  | 'iser-resources'
  | 'iser-disconnected'
  /** The target broke the iSER protocol. */
  | 'iser-protocol'
  | 'iser-work-request'
  /** The target does not receive the PDUs that are sent to it. */
  | 'iser-overrun'
  /** A command was aborted while its data was still being sent. */
  | 'iser-send-abandoned'
  | 'iser-device-removed';

/** An iSER connection could not be established, or has ended. */
export class IserConnectionError extends IserNbdError {
  override readonly name = 'IserConnectionError';
  declare readonly code: IserConnectionErrorCode;

  constructor(
    code: IserConnectionErrorCode,
    message: string,
    facts: ErrorFacts = {},
    cause?: unknown,
  ) {
    super(code, message, facts, cause);
  }
}

/** The events that end the attempt to connect. */
export type ConnectFailureEvent = Extract<
  ConnectionEvent,
  {
    type:
      | 'addressError'
      | 'routeError'
      | 'unreachable'
      | 'rejected'
      | 'connectError'
      | 'disconnected'
      | 'deviceRemoval';
  }
>;

/** The reason why a connection was not established, for people. `transport` is the transport's name. */
export function connectFailure(
  event: ConnectFailureEvent,
  address: PortalAddress,
  transport: string,
): IserConnectionError {
  const portal = `${address.host}:${address.port}`;
  const facts = { portal, transport };
  switch (event.type) {
    case 'addressError':
      return new IserConnectionError(
        'iser-address',
        `the portal ${portal} has no usable address (${event.reason}); check the host name`,
        facts,
      );
    case 'routeError':
    case 'unreachable':
      return new IserConnectionError(
        'iser-unreachable',
        `nothing answers at ${portal} (${event.reason}); check that the target runs and that a firewall lets the port through`,
        facts,
      );
    case 'rejected':
      return new IserConnectionError(
        'iser-rejected',
        `the target at ${portal} rejected the connection (${event.reason}); check that its portal has iSER enabled and accepts this initiator`,
        facts,
      );
    case 'connectError':
      return new IserConnectionError(
        'iser-not-iwarp',
        `${portal} answers, but not as an iSER target over ${transport} (${event.reason}); check that its portal has iSER enabled and that the port is right`,
        facts,
      );
    case 'disconnected':
      return new IserConnectionError(
        'iser-disconnected',
        `the target at ${portal} closed the connection before it was established${event.reason === null ? '' : ` (${event.reason})`}; see the log of the target`,
        facts,
      );
    case 'deviceRemoval':
      return deviceRemoved(portal);
  }
}

export function connectTimedOut(address: PortalAddress, timeoutMs: number): IserConnectionError {
  const portal = `${address.host}:${address.port}`;
  return new IserConnectionError(
    'iser-timed-out',
    `${portal} did not complete the connection within ${timeoutMs / 1000} s; check that the target is healthy and that its portal has iSER enabled`,
    { portal, timeoutMs },
  );
}

export function connectCancelled(address: PortalAddress): IserConnectionError {
  const portal = `${address.host}:${address.port}`;
  return new IserConnectionError(
    'iser-cancelled',
    `the attempt to connect to ${portal} was cancelled`,
    { portal },
  );
}

/** The device refused a resource during the establishment of a connection. */
export function resourcesRefused(portal: string, cause: unknown): IserConnectionError {
  return new IserConnectionError(
    'iser-resources',
    `the RDMA device has no room for a connection to ${portal}: ${messageOf(cause)}`,
    { portal },
    cause,
  );
}

/** An established connection has ended. */
export function disconnected(portal: string, reason: string | null): IserConnectionError {
  return new IserConnectionError(
    'iser-disconnected',
    reason === null
      ? `the target at ${portal} closed the connection`
      : `the connection to ${portal} was lost: ${reason}`,
    { portal },
  );
}

export function deviceRemoved(portal: string): IserConnectionError {
  return new IserConnectionError(
    'iser-device-removed',
    `the RDMA device of the connection to ${portal} was removed`,
    { portal },
  );
}

/** The target broke the iSER protocol. `problem` is a clause that says how. */
export function protocolBroken(portal: string, problem: string): IserConnectionError {
  return new IserConnectionError(
    'iser-protocol',
    `the target at ${portal} broke the iSER protocol: ${problem}`,
    { portal },
  );
}

/** A work request failed. `what` names its purpose, such as `sending a command`. */
export function workFailed(portal: string, what: string, status: string): IserConnectionError {
  return new IserConnectionError(
    'iser-work-request',
    `the connection to ${portal} failed: ${what} ended with ${status}`,
    { portal, status },
  );
}

export function registrationRefused(portal: string, cause: unknown): IserConnectionError {
  return new IserConnectionError(
    'iser-resources',
    `the RDMA device could not register the data of a command to ${portal}: ${messageOf(cause)}`,
    { portal },
    cause,
  );
}

export function sendAbandoned(portal: string): IserConnectionError {
  return new IserConnectionError(
    'iser-send-abandoned',
    `a command to ${portal} was aborted while its data was still being sent, so the connection had to end`,
    { portal },
  );
}

export function controlOverrun(portal: string, waiting: number): IserConnectionError {
  return new IserConnectionError(
    'iser-overrun',
    `the target at ${portal} does not receive what is sent to it: ${waiting} control PDUs are incomplete`,
    { portal, waiting },
  );
}
