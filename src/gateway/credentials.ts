import { readFileSync } from 'node:fs';
import { ConfigError, messageOf } from '../common/errors.js';
import type { ChapCredentials } from '../iscsi/chap.js';

/** Where credentials come from: names from options or the URL, secrets from a file or the environment, never argv. */
export interface CredentialSources {
  readonly user: string | null;
  readonly secretFile: string | null;
  readonly mutualUser: string | null;
  readonly mutualSecretFile: string | null;
}

export const SECRET_VARIABLE = 'ISER_NBD_CHAP_SECRET';
export const MUTUAL_SECRET_VARIABLE = 'ISER_NBD_MUTUAL_CHAP_SECRET';

/** Null when no user is named. @throws ConfigError when a user is named and its secret cannot be had. */
export function loadCredentials(
  sources: CredentialSources,
  environment: NodeJS.ProcessEnv,
): ChapCredentials | null {
  const { user, secretFile, mutualUser, mutualSecretFile } = sources;
  if (user === null) {
    if (secretFile !== null || mutualUser !== null || mutualSecretFile !== null) {
      throw new ConfigError(
        'chap-user',
        'a CHAP secret needs a user: give --chap-user or user@ in the URL',
      );
    }
    return null;
  }
  const secret = secretFrom(secretFile, environment[SECRET_VARIABLE], {
    user,
    option: '--chap-secret-file',
    variable: SECRET_VARIABLE,
  });
  if (mutualUser === null) {
    if (mutualSecretFile !== null) {
      throw new ConfigError(
        'chap-user',
        'a mutual CHAP secret needs a name: give --mutual-chap-user',
      );
    }
    return { user, secret };
  }
  const mutualSecret = secretFrom(mutualSecretFile, environment[MUTUAL_SECRET_VARIABLE], {
    user: mutualUser,
    option: '--mutual-chap-secret-file',
    variable: MUTUAL_SECRET_VARIABLE,
  });
  if (mutualSecret === secret) {
    throw new ConfigError('chap-secret', 'the two CHAP secrets must differ (RFC 7143 9.2.1)');
  }
  return { user, secret, mutual: { user: mutualUser, secret: mutualSecret } };
}

function secretFrom(
  file: string | null,
  fromEnvironment: string | undefined,
  { user, option, variable }: { user: string; option: string; variable: string },
): string {
  let secret = fromEnvironment ?? '';
  if (file !== null) {
    try {
      secret = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    } catch (error) {
      throw new ConfigError(
        'chap-secret',
        `cannot read the CHAP secret of ${user}: ${messageOf(error)}`,
      );
    }
  }
  if (secret === '') {
    throw new ConfigError(
      'chap-secret',
      `no CHAP secret for ${user}: give ${option} FILE or set ${variable}`,
    );
  }
  return secret;
}
