/** NBD clients of several releases: what Debian has installed, and newer ones (scripts/newer-clients.mjs). */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { command, haveTools, mustRun } from './program.js';
import type { Finished } from './program.js';

const NEWER_FOLDER = fileURLToPath(new URL('../../.cache/debian-13/', import.meta.url));

/** The programs of one release. */
export class Clients {
  /** For the titles of tests. */
  readonly label: string;
  readonly #programs: Readonly<Record<string, string>>;
  readonly #folder: string | null;

  constructor(
    label: string,
    folder: string | null = null,
    programs: Readonly<Record<string, string>> = {},
  ) {
    this.label = label;
    this.#folder = folder;
    this.#programs = programs;
  }

  /** What to run for a program by its name. */
  path(name: string): string {
    return this.#programs[name] ?? (this.#folder === null ? name : `${this.#folder}bin/${name}`);
  }

  /** True when all of them are there; otherwise says on the console what is skipped for want of them. */
  have(what: string, ...names: string[]): boolean {
    if (this.#folder === null || existsSync(this.#folder)) {
      return haveTools(`${what}, ${this.label}`, ...names.map((name) => this.path(name)));
    }
    console.warn(`skipped: ${what}, ${this.label} (not unpacked: npm test does, with mmdebstrap)`);
    return false;
  }

  /** Runs one, which must succeed; returns what it printed. */
  run(name: string, ...args: string[]): Promise<string> {
    return mustRun(this.path(name), ...args);
  }

  /** Runs one to its end. */
  try(name: string, ...args: string[]): Promise<Finished> {
    return command(this.path(name), args);
  }
}

/** QEMU 7.2, libnbd 1.14 on Debian 12. Its module belongs to its own Python, which need not be first on the PATH. */
export const INSTALLED = new Clients('as installed', null, { python3: '/usr/bin/python3' });

/** QEMU 10, libnbd 1.22, nbdkit 1.42: QEMU and libnbd speak extended headers. */
export const NEWER = new Clients('of Debian 13', NEWER_FOLDER);

export const RELEASES: readonly Clients[] = [INSTALLED, NEWER];
