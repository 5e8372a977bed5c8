import type { Argv } from 'yargs';
import { UsageError } from '../common/errors.js';
import type { TlsConfig } from '../gateway/config.js';
import type { TlsSettings } from '../gateway/gateway-config.js';
import { once } from './options.js';

/** The TLS options of a server. */
export function withTls<T>(argv: Argv<T>) {
  return argv
    .option('tls', {
      choices: ['off', 'on', 'require'] as const,
      describe:
        'off; on: for clients that ask for it; require: for all [off; with TLS files: require]',
    })
    .option('tls-cert', { type: 'string', describe: 'certificate (chain) of this server, PEM' })
    .option('tls-key', { type: 'string', describe: "the certificate's private key, PEM" })
    .option('tls-ca', {
      type: 'string',
      describe: 'clients must have a certificate that one of these authorities issued, PEM',
    })
    .option('tls-psk', {
      type: 'string',
      describe: 'pre-shared keys, lines of USER:HEXKEY as psktool writes them',
    });
}

export interface TlsArguments {
  tls?: 'off' | 'on' | 'require' | undefined;
  'tls-cert'?: string | undefined;
  'tls-key'?: string | undefined;
  'tls-ca'?: string | undefined;
  'tls-psk'?: string | undefined;
}

/**
 * The TLS settings; null for no TLS. Each option wins over the same value of the configuration file.
 *
 * @throws UsageError when TLS is on and no file is named
 */
export function tlsSettings(argv: TlsArguments, file: TlsConfig | undefined): TlsSettings | null {
  const files = {
    certificate: once(argv['tls-cert'], 'tls-cert') ?? file?.cert ?? null,
    key: once(argv['tls-key'], 'tls-key') ?? file?.key ?? null,
    ca: once(argv['tls-ca'], 'tls-ca') ?? file?.ca ?? null,
    psk: once(argv['tls-psk'], 'tls-psk') ?? file?.psk ?? null,
  };
  const hasFiles = Object.values(files).some((path) => path !== null);
  const mode = once(argv.tls, 'tls') ?? file?.mode ?? (hasFiles ? 'require' : 'off');
  if (mode === 'off') return null;
  if (!hasFiles) {
    throw new UsageError(
      'tls',
      `--tls ${mode} needs --tls-cert and --tls-key, or --tls-psk; see docs/tls.md`,
    );
  }
  return { required: mode === 'require', files };
}
