import type { ChapCredentials } from '../iscsi/chap.js';
import type { AccessRule } from '../nbd/access.js';
import type { ListenAddress } from '../nbd/socket.js';
import type { TlsFiles } from '../nbd/tls.js';
import type { LimitsConfig } from './limits-config.js';
import type { ExportUrl } from './url.js';

export interface ExportConfig {
  readonly name: string;
  readonly url: ExportUrl;
  readonly description: string;
  readonly readOnly: boolean;
  readonly credentials: ChapCredentials | null;
  /** Which clients may use the export; null for all. */
  readonly allow?: AccessRule | null;
}

/** TLS for clients that ask for it, or for all clients (`required`). */
export interface TlsSettings {
  readonly required: boolean;
  readonly files: TlsFiles;
}

export type ListenConfig = ListenAddress;

export interface GatewayConfig {
  readonly exports: readonly ExportConfig[];
  /** The export for clients that name none; null for the only export, if there is only one. */
  readonly defaultExport?: string | null;
  readonly listen: readonly ListenConfig[];
  readonly tls?: TlsSettings | null;
  readonly limits?: LimitsConfig;
  /** Microseconds to poll for more after bytes have arrived. The value is for all gateways of this thread. */
  readonly pollUs?: number;
  readonly initiatorName: string;
  /** How many processes serve; 1, the default, is this process alone. See workers/. */
  readonly workers?: number;
}
