import type { ErrorFacts } from '../../common/errors.js';
import type { SocketHandle } from '../../socket/data-socket.js';
import type { TlsContents } from '../../nbd/tls.js';
import type { CounterReading } from '../../observe/counter-sums.js';
import type { LogLevel } from '../../observe/log.js';
import type { UnitIdentity } from '../../disk/identity.js';
import type { GatewayConfig } from '../gateway-config.js';

/** The first message to a worker: everything that it needs. Secrets travel here, never by argv or environment. */
export interface StartMessage {
  readonly type: 'start';
  readonly worker: number;
  readonly logLevel: LogLevel;
  readonly config: GatewayConfig;
  readonly tlsContents: TlsContents | null;
  /** Exports whose LUN may have lost writes; see WriteLedger. */
  readonly lost: readonly LostWrites[];
  /** What the exports' units were when others looked, as far as that is known: they have to be the same. */
  readonly units: UnitIdentities;
}

/** A range that a worker is changing, under its own number for it. In bytes. */
export interface BusyRange {
  readonly number: number;
  readonly startBytes: number;
  readonly endBytes: number;
}

/** News of ranges of one unit, which is called by the first of its exports. */
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

/** From the primary to a worker. They arrive in the order in which they were sent. */
export type ToWorker =
  | StartMessage
  /** With the connection's handle. */
  | { readonly type: 'client'; readonly conn: number; readonly address: string | null }
  | { readonly type: 'tls'; readonly contents: TlsContents }
  | ({ readonly type: 'writesLost' } & LostWrites)
  /** Announce all that is being changed now, then say so. */
  | { readonly type: 'announce'; readonly round: number }
  /** Another worker is changing these ranges, or has done with them. */
  | ({ readonly type: 'busy'; readonly worker: number } & BusyRanges)
  | ({ readonly type: 'over'; readonly worker: number } & EndedRanges)
  | { readonly type: 'count' }
  /** Drain, log out, end. */
  | { readonly type: 'stop' };

/** From a worker to the primary. */
export type FromWorker =
  /** Listens for messages; the first one. */
  | { readonly type: 'up' }
  /** Logged in everywhere. */
  | { readonly type: 'ready'; readonly units: UnitIdentities }
  /** Could not start; it ends. */
  | { readonly type: 'failed'; readonly error: StartFailure }
  /** Has a client's handle, and serves it from now on: nobody else may any more. */
  | { readonly type: 'taken'; readonly conn: number }
  | { readonly type: 'released'; readonly conn: number }
  | { readonly type: 'announced'; readonly round: number }
  | ({ readonly type: 'busy' } & BusyRanges)
  | ({ readonly type: 'over' } & EndedRanges)
  | { readonly type: 'counted'; readonly readings: readonly CounterReading[] }
  | ({ readonly type: 'writesLost' } & LostWrites)
  /** Its session with the export's target is lost. */
  | ({ readonly type: 'diskLost' } & LostWrites);

/** An error, as it travels. */
export interface StartFailure {
  readonly message: string;
  readonly stack: string;
  /** What an IserNbdError has; null for anything else, which is a bug. */
  readonly code: string | null;
  readonly facts: ErrorFacts;
  readonly isUsage: boolean;
}

/** How a process ended. */
export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A worker process as the primary sees it. Sending to one that has ended does nothing. */
export interface WorkerLink {
  readonly pid: number;
  /** `handle`'s copy here stays open, and the sender's. */
  send(message: ToWorker, handle?: SocketHandle): void;
  kill(): void;
}

export interface WorkerLinkHandler {
  onMessage(message: FromWorker): void;
  /** Once, and after all that it had sent. */
  onEnded(ending: Ending): void;
}

export type SpawnWorker = (worker: number, handler: WorkerLinkHandler) => WorkerLink;
