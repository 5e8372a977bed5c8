import { UsageError } from '../common/errors.js';

/** The hash algorithms of CHAP, by their IANA numbers. */
export const ChapAlgorithm = { md5: 5, sha1: 6, sha256: 7, sha3: 8 } as const;
export type ChapAlgorithm = (typeof ChapAlgorithm)[keyof typeof ChapAlgorithm];

/** Strongest first. The initiator offers this order, and our target chooses in this order. */
export const CHAP_ALGORITHMS: readonly ChapAlgorithm[] = [
  ChapAlgorithm.sha3,
  ChapAlgorithm.sha256,
  ChapAlgorithm.sha1,
  ChapAlgorithm.md5,
];

/** The names that users write, for example in `--chap-algorithms`. */
const NAMES: Readonly<Record<ChapAlgorithm, string>> = {
  [ChapAlgorithm.md5]: 'md5',
  [ChapAlgorithm.sha1]: 'sha1',
  [ChapAlgorithm.sha256]: 'sha256',
  [ChapAlgorithm.sha3]: 'sha3-256',
};

export function chapAlgorithmName(algorithm: ChapAlgorithm): string {
  return NAMES[algorithm];
}

/**
 * Reads a list such as `sha256,md5`, in order of preference. Accepts capitals, as in `chap_algs` of open-iscsi.
 * @throws UsageError for an unknown or repeated name
 */
export function parseChapAlgorithms(text: string): readonly ChapAlgorithm[] {
  const algorithms = text.split(',').map((name) => {
    const found = CHAP_ALGORITHMS.find((known) => NAMES[known] === name.trim().toLowerCase());
    if (found === undefined) throw wrongAlgorithms(`${JSON.stringify(name)} is not one of them`);
    return found;
  });
  if (new Set(algorithms).size < algorithms.length)
    throw wrongAlgorithms('one of them is named twice');
  return algorithms;
}

function wrongAlgorithms(why: string): UsageError {
  return new UsageError(
    'chap-algorithms',
    `CHAP algorithms are a list of ${CHAP_ALGORITHMS.map(chapAlgorithmName).join(', ')}, as in sha256,md5; ${why}`,
  );
}
