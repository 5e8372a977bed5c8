import { ConfigError, UsageError } from '../common/errors.js';
import { checkChapCredentials } from '../iscsi/chap.js';
import type { ChapCredentials } from '../iscsi/chap.js';
import type { ChapAlgorithm } from '../iscsi/chap-algorithm.js';
import type { SecretFiles } from './secret-file.js';
import type { ExportUrl } from './url.js';

/** The sources of credentials: names from options or the URL, secrets from a file or the environment, never argv. */
export interface CredentialSources {
  readonly user: string | null;
  readonly secretFile: string | null;
  readonly mutualUser: string | null;
  readonly mutualSecretFile: string | null;
  /** Null for all algorithms. */
  readonly algorithms: readonly ChapAlgorithm[] | null;
}

export const SECRET_VARIABLE = 'ISER_NBD_CHAP_SECRET';
export const MUTUAL_SECRET_VARIABLE = 'ISER_NBD_MUTUAL_CHAP_SECRET';

/** The places that secrets are read from. */
export interface SecretStores {
  readonly environment: NodeJS.ProcessEnv;
  readonly files: SecretFiles;
}

/**
 * The credentials of a user; null when no user is named.
 *
 * @throws ConfigError when the user's secret is missing, unreadable or not allowed, or has no user
 */
export function loadCredentials(
  sources: CredentialSources,
  stores: SecretStores,
): ChapCredentials | null {
  const { user, secretFile, mutualUser, mutualSecretFile } = sources;
  const { environment } = stores;
  const allowed = sources.algorithms === null ? {} : { algorithms: sources.algorithms };
  if (user === null) {
    if (secretFile !== null || mutualUser !== null || mutualSecretFile !== null) {
      throw new UsageError(
        'chap-user',
        'a CHAP secret needs a user: give --chap-user or user@ in the URL',
      );
    }
    return null;
  }
  const secret = secretFrom(stores, secretFile, environment[SECRET_VARIABLE], {
    user,
    option: '--chap-secret-file',
    variable: SECRET_VARIABLE,
  });
  if (mutualUser === null) {
    if (mutualSecretFile !== null) {
      throw new UsageError(
        'chap-user',
        'a mutual CHAP secret needs a name: give --mutual-chap-user',
      );
    }
    return checked({ user, secret, ...allowed });
  }
  const mutualSecret = secretFrom(stores, mutualSecretFile, environment[MUTUAL_SECRET_VARIABLE], {
    user: mutualUser,
    option: '--mutual-chap-secret-file',
    variable: MUTUAL_SECRET_VARIABLE,
  });
  return checked({ user, secret, mutual: { user: mutualUser, secret: mutualSecret }, ...allowed });
}

/** A user and algorithms in a URL win over those of the other sources. */
export function withUrl(
  sources: CredentialSources,
  {
    user,
    chapAlgorithms,
  }: { user: string | null; chapAlgorithms: CredentialSources['algorithms'] },
): CredentialSources {
  return {
    ...sources,
    user: user ?? sources.user,
    algorithms: chapAlgorithms ?? sources.algorithms,
  };
}

/**
 * The credentials for a LUN. An embedded LUN needs no login, so it has none.
 *
 * @throws ConfigError for the same reasons as {@link loadCredentials}
 */
export function credentialsFor(
  url: ExportUrl,
  sources: CredentialSources,
  stores: SecretStores,
): ChapCredentials | null {
  if (url.kind === 'remote') {
    return loadCredentials(withUrl(sources, url), stores);
  }
  checkSecretFiles(sources, stores);
  return null;
}

/**
 * Reads the secret files of a LUN that needs no login. A file that is missing is a mistake all the same, and no login
 * would show it.
 *
 * @throws ConfigError for a file that cannot be used
 */
export function checkSecretFiles(
  { user, secretFile, mutualUser, mutualSecretFile }: CredentialSources,
  { files }: SecretStores,
): void {
  if (secretFile !== null) files.read(secretFile, user);
  if (mutualSecretFile !== null) files.read(mutualSecretFile, mutualUser);
}

function checked(credentials: ChapCredentials): ChapCredentials {
  checkChapCredentials(credentials);
  return credentials;
}

function secretFrom(
  { files }: SecretStores,
  file: string | null,
  fromEnvironment: string | undefined,
  { user, option, variable }: { user: string; option: string; variable: string },
): Uint8Array {
  if (file !== null) {
    const secret = files.read(file, user);
    if (secret.length > 0) return secret;
    throw new ConfigError('chap-secret', `${file}, for the CHAP secret of ${user}, is empty`);
  }
  if (fromEnvironment === undefined || fromEnvironment === '') {
    throw new UsageError(
      'chap-secret',
      `no CHAP secret for ${user}: give ${option} FILE or set ${variable}`,
    );
  }
  if (fromEnvironment.includes('\ufffd')) {
    // Node has already decoded the variable. The original bytes are lost, and many secrets become this same text.
    throw new UsageError(
      'chap-secret',
      `${variable} contains bytes that are not UTF-8, which Node cannot read; put the secret into a file and give ${option} FILE`,
    );
  }
  return Buffer.from(fromEnvironment, 'utf8');
}
