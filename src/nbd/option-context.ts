import type { Agreement } from './agreement.js';
import type { NbdProtocolError } from './errors.js';
import type { ExportTable, NbdExport, ExportTerms } from './export.js';
import type { OptionReply } from './wire.js';

/**
 * The state of TLS in a handshake (proto.md, "TLS support"): `off`, the server has no TLS (NOTLS); `offered`, for clients
 * that ask for it (SELECTIVETLS); `required`, for all clients (FORCEDTLS); `secured`, the connection uses TLS.
 */
export type TlsStance = 'off' | 'offered' | 'required' | 'secured';

/** The handshake, as the handler of an option uses it. */
export interface OptionContext {
  readonly exports: ExportTable;
  readonly tls: TlsStance;
  /** What the options have agreed on so far. */
  readonly agreement: Agreement;
  /** The most queries of one metadata context option. */
  readonly metaQueriesMax: number;
  /** Sends one reply to the present option. */
  reply(type: OptionReply, data?: Uint8Array): void;
  /** Sends an error reply with a message for people. */
  refuse(type: OptionReply, message: string): void;
  /**
   * Refreshes the export's device, as the client is about to rely on its properties. Then calls `next`; `isUsable` is
   * false when the device cannot be used. No other option is answered in the meantime.
   */
  refresh(item: NbdExport, next: (isUsable: boolean) => void): void;
  /** `name` as the client wrote it. */
  termsOf(item: NbdExport, name: string): ExportTerms;
  /** Sends the reply to EXPORT_NAME, which has a format of its own. */
  sendExportNameReply(terms: ExportTerms): void;
  /** Enters the transmission phase. */
  choose(item: NbdExport, terms: ExportTerms): void;
  /** Acknowledges STARTTLS. This handshake is over then, and a new one begins over TLS. */
  startTls(): void;
  /** Closes the connection. `error` is null when the client asked for that. */
  end(error: NbdProtocolError | null): void;
}
