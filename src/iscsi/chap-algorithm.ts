import { UsageError } from '../common/errors.js';

/** The hash algorithms of CHAP, by their IANA numbers. */
export const ChapAlgorithm = { md5: 5, sha1: 6, sha256: 7, sha3: 8 } as const;
export type ChapAlgorithm = (typeof ChapAlgorithm)[keyof typeof ChapAlgorithm];

/** Strongest first: the order in which they are offered, and in which a target of ours chooses. */
export const CHAP_ALGORITHMS: readonly ChapAlgorithm[] = [
  ChapAlgorithm.sha3,
  ChapAlgorithm.sha256,
  ChapAlgorithm.sha1,
  ChapAlgorithm.md5,
];

/** OpenSSL's names, which people write as well. */
const NAMES: Readonly<Record<ChapAlgorithm, string>> = {
  [ChapAlgorithm.md5]: 'md5',
  [ChapAlgorithm.sha1]: 'sha1',
  [ChapAlgorithm.sha256]: 'sha256',
  [ChapAlgorithm.sha3]: 'sha3-256',
};

export function chapAlgorithmName(algorithm: ChapAlgorithm): string {
  return NAMES[algorithm];
}

/** `sha256,md5`, in the order of preference; capitals as open-iscsi's `chap_algs` has them will do. @throws UsageError */
export function parseChapAlgorithms(text: string): readonly ChapAlgorithm[] {
  const algorithms = text.split(',').map((name) => {
    const found = CHAP_ALGORITHMS.find((known) => NAMES[known] === name.trim().toLowerCase());
    if (found === undefined) throw wrongAlgorithms(`${JSON.stringify(name)} is none`);
    return found;
  });
  if (new Set(algorithms).size < algorithms.length) throw wrongAlgorithms('one is named twice');
  return algorithms;
}

function wrongAlgorithms(why: string): UsageError {
  return new UsageError(
    'chap-algorithms',
    `CHAP algorithms are a list of ${CHAP_ALGORITHMS.map(chapAlgorithmName).join(', ')}, as in sha256,md5; ${why}`,
  );
}
