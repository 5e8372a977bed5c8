import type { Agreement } from './agreement.js';
import type { NbdProtocolError } from './errors.js';
import type { ExportTable, NbdExport, ExportTerms } from './export.js';
import type { OptionReply } from './wire.js';

/**
 * Where a handshake stands with TLS (proto.md, "TLS support"): the server has none (NOTLS), has it for whoever asks
 * (SELECTIVETLS), insists on it (FORCEDTLS); or it is there.
 */
export type TlsStance = 'off' | 'offered' | 'required' | 'secured';

/** What an option's handler may do to the handshake that it is part of. */
export interface OptionContext {
  readonly exports: ExportTable;
  readonly tls: TlsStance;
  /** What the options have agreed on so far. */
  readonly agreement: Agreement;
  /** Queries that one metadata context option may have. */
  readonly metaQueriesMax: number;
  /** Sends one reply to the option at hand. */
  reply(type: OptionReply, data?: Uint8Array): void;
  /** Sends an error reply with a message for people. */
  refuse(type: OptionReply, message: string): void;
  /**
   * Looks at the export's device again, since the client is about to rely on what it is told of it, then goes on with
   * `next`; `isUsable` is false when the device cannot be used. No other option is answered meanwhile.
   */
  refresh(item: NbdExport, next: (isUsable: boolean) => void): void;
  /** `name` as the client wrote it. */
  termsOf(item: NbdExport, name: string): ExportTerms;
  /** EXPORT_NAME's reply, which has a format of its own. */
  sendExportNameReply(terms: ExportTerms): void;
  /** Enters the transmission phase. */
  choose(item: NbdExport, terms: ExportTerms): void;
  /** Acknowledges STARTTLS. This handshake is over then, and a new one begins on the secured connection. */
  startTls(): void;
  /** Closes the connection; null when the client wanted that. */
  end(error: NbdProtocolError | null): void;
}
