import { UsageError } from '../common/errors.js';
import { FILE_STORE_BYTES_MAX, MEMORY_STORE_BYTES_MAX } from './limits.js';

/** A logical unit's storage, as named on the command line. */
export type LunSpec =
  | { readonly kind: 'memory'; readonly sizeBytes: number }
  | { readonly kind: 'file'; readonly path: string; readonly sizeBytes: number | null };

const SIZE = /^(\d{1,16})([KMGT]?)$/i;
const UNIT_BYTES: Readonly<Record<string, number>> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** The size of a disk is a multiple of its block size, and 512 is the smallest block. */
const SIZE_MULTIPLE_BYTES = 512;

/**
 * `memory:SIZE` or `file:PATH[:SIZE]`, SIZE in bytes or with K, M, G or T for powers of 1024. The text after the last
 * colon of a file is its size if it looks like a size.
 * @throws UsageError when `text` is not such a specification
 */
export function parseLunSpec(text: string): LunSpec {
  if (text.startsWith('memory:')) return memorySpec(text, text.slice('memory:'.length));
  if (text.startsWith('file:')) return fileSpec(text, text.slice('file:'.length));
  throw specError(text, 'is neither memory:SIZE nor file:PATH[:SIZE]');
}

/** `256M` → 268435456; null for text that is not a size. */
export function parseSize(text: string): number | null {
  const match = SIZE.exec(text);
  if (match === null) return null;
  const bytes = Number(match[1]) * (UNIT_BYTES[(match[2] ?? '').toUpperCase()] ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

function memorySpec(text: string, size: string): LunSpec {
  const sizeBytes = parseSize(size);
  if (sizeBytes === null) {
    throw specError(text, 'needs a size, such as memory:256M');
  }
  checkSize(text, sizeBytes, MEMORY_STORE_BYTES_MAX);
  return { kind: 'memory', sizeBytes };
}

function fileSpec(text: string, rest: string): LunSpec {
  const colon = rest.lastIndexOf(':');
  const size = colon > 0 ? rest.slice(colon + 1) : '';
  const sizeBytes = parseSize(size);
  if (sizeBytes === null && SIZE.test(size)) throw specError(text, 'is too large');
  const path = sizeBytes === null ? rest : rest.slice(0, colon);
  if (path === '') throw specError(text, 'needs a path, such as file:disk.img:1G');
  if (path.includes('\0')) throw specError(text, 'has a NUL in its path');
  if (sizeBytes !== null) checkSize(text, sizeBytes, FILE_STORE_BYTES_MAX);
  return { kind: 'file', path, sizeBytes };
}

function checkSize(text: string, sizeBytes: number, maxBytes: number): void {
  if (sizeBytes === 0) throw specError(text, 'has a size of 0; give at least one block');
  if (sizeBytes % SIZE_MULTIPLE_BYTES !== 0) {
    throw specError(text, `is not a multiple of ${SIZE_MULTIPLE_BYTES} bytes`);
  }
  if (sizeBytes > maxBytes) throw specError(text, `is larger than the limit of ${maxBytes} bytes`);
}

function specError(text: string, what: string): UsageError {
  return new UsageError('lun', `the LUN ${JSON.stringify(text)} ${what}`, { lun: text });
}
