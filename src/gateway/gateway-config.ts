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
  /** Who may see it; null for everybody. */
  readonly allow?: AccessRule | null;
}

/** TLS for those who ask for it, or for everybody. */
export interface TlsSettings {
  readonly required: boolean;
  readonly files: TlsFiles;
}

export type ListenConfig = ListenAddress;

export interface GatewayConfig {
  readonly exports: readonly ExportConfig[];
  /** What a client gets that names no export; null for the only one, if there is only one. */
  readonly defaultExport?: string | null;
  readonly listen: readonly ListenConfig[];
  readonly tls?: TlsSettings | null;
  readonly limits?: LimitsConfig;
  /** Microseconds to poll for more after bytes have arrived; of this thread, not of one gateway. */
  readonly pollUs?: number;
  readonly initiatorName: string;
  /** How many processes serve; 1, or nothing, is this one alone. See workers/. */
  readonly workers?: number;
}
