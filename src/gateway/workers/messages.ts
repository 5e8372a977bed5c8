import type { ErrorFacts } from '../../common/errors.js';
import type { SocketHandle } from '../../socket/data-socket.js';
import type { TlsContents } from '../../nbd/tls.js';
import type { CounterReading } from '../../observe/counter-sums.js';
import type { LogLevel } from '../../observe/log.js';
import type { UnitIdentity } from '../../disk/identity.js';
import type { GatewayConfig } from '../gateway-config.js';

/** The first message to a worker, with everything that it needs. Secrets are sent here, never by argv or environment. */
export interface StartMessage {
  readonly type: 'start';
  readonly worker: number;
  readonly logLevel: LogLevel;
  readonly config: GatewayConfig;
  readonly tlsContents: TlsContents | null;
  /** Exports whose LUN may have lost writes; see WriteLedger. */
  readonly lost: readonly LostWrites[];
  /** The units that other workers have found behind the exports. This worker must find the same ones. */
  readonly units: UnitIdentities;
}

/** A range that a worker is changing, in bytes, with the worker's own number for the range. */
export interface BusyRange {
  readonly number: number;
  readonly startBytes: number;
  readonly endBytes: number;
}

/** Ranges of one unit that are being changed. The unit has the name of its first export. */
export interface BusyRanges {
  readonly unitName: string;
  readonly ranges: readonly BusyRange[];
}

export interface EndedRanges {
  readonly unitName: string;
  readonly numbers: readonly number[];
}

/** Which unit is behind each export, by the export's name. */
export type UnitIdentities = Readonly<Record<string, UnitIdentity>>;

export interface LostWrites {
  readonly exportName: string;
  readonly reason: string;
}

/** Messages from the primary to a worker. They arrive in the order in which they were sent. */
export type ToWorker =
  | StartMessage
  /** A client. The connection's handle comes with the message. */
  | { readonly type: 'client'; readonly conn: number; readonly address: string | null }
  | { readonly type: 'tls'; readonly contents: TlsContents }
  | ({ readonly type: 'writesLost' } & LostWrites)
  /** Announce all ranges that are being changed now, then answer `announced`. */
  | { readonly type: 'announce'; readonly round: number }
  /** Another worker is changing these ranges, or has ended its changes. */
  | ({ readonly type: 'busy'; readonly worker: number } & BusyRanges)
  | ({ readonly type: 'over'; readonly worker: number } & EndedRanges)
  | { readonly type: 'count' }
  /** Drain, log out, end. */
  | { readonly type: 'stop' };

/** Messages from a worker to the primary. */
export type FromWorker =
  /** The worker listens for messages. The first message. */
  | { readonly type: 'up' }
  /** The worker has logged in to all LUNs. */
  | { readonly type: 'ready'; readonly units: UnitIdentities }
  /** The worker could not start, and ends. */
  | { readonly type: 'failed'; readonly error: StartFailure }
  /** The worker has a client's handle and serves the client from now on. No other process may do so any more. */
  | { readonly type: 'taken'; readonly conn: number }
  | { readonly type: 'released'; readonly conn: number }
  | { readonly type: 'announced'; readonly round: number }
  | ({ readonly type: 'busy' } & BusyRanges)
  | ({ readonly type: 'over' } & EndedRanges)
  | { readonly type: 'counted'; readonly readings: readonly CounterReading[] }
  | ({ readonly type: 'writesLost' } & LostWrites)
  /** The worker's session with the export's target is lost. */
  | ({ readonly type: 'diskLost' } & LostWrites);

/** An error in a message. */
export interface StartFailure {
  readonly message: string;
  readonly stack: string;
  /** The code of an IserNbdError; null for any other error, which is a bug. */
  readonly code: string | null;
  readonly facts: ErrorFacts;
  readonly isUsage: boolean;
}

/** How a process ended. */
export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A worker process, for the primary. Sending to a process that has ended does nothing. */
export interface WorkerLink {
  readonly pid: number;
  /** The worker gets a copy of `handle`; the sender's handle stays open. */
  send(message: ToWorker, handle?: SocketHandle): void;
  kill(): void;
}

export interface WorkerLinkHandler {
  onMessage(message: FromWorker): void;
  /** Called once, after all messages of the worker. */
  onEnded(ending: Ending): void;
}

export type SpawnWorker = (worker: number, handler: WorkerLinkHandler) => WorkerLink;
