import { open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { ConfigError, messageOf } from '../common/errors.js';
import type { Logger } from '../observe/log.js';
import { ReservationType, initiatorPortName, parseInitiatorPortName } from '../scsi/wire.js';
import { REGISTRATIONS_MAX, RESERVATION_FILE_BYTES_MAX } from './limits.js';
import type { InitiatorPort } from '../scsi/wire.js';
import { portKeyOf } from './reservation-keeper.js';
import { NO_RESERVATIONS } from '../scsi/reservation-state.js';
import type { Registration, Reservations } from '../scsi/reservation-state.js';
import type { ReservationKeeper } from './reservation-keeper.js';

const VERSION = 1;
const SUFFIX = '.reservations';

const TYPE_NAMES = Object.keys(ReservationType) as (keyof typeof ReservationType)[];

/** The contents of the file. JSON, so that people can see which initiator holds their LUN. */
const schema = z.strictObject({
  version: z.literal(VERSION),
  registrations: z
    .array(
      z.strictObject({
        port: z.string(),
        key: z.string().regex(/^0x(?!0{16})[0-9a-f]{16}$/),
        allTargetPorts: z.boolean(),
      }),
    )
    .max(REGISTRATIONS_MAX),
  reservation: z
    .strictObject({ type: z.enum(TYPE_NAMES), holder: z.string().nullable() })
    .nullable(),
});

/**
 * The reservations of a file LUN, in a file beside the LUN's file (APTPL, SPC-4 5.9.5). An update writes a new file
 * with a temporary name, flushes it, renames it, and flushes the folder. So a power loss leaves the old file or the
 * new file, and every answered change is on the disk.
 */
export class ReservationFile implements ReservationKeeper {
  readonly kept: Reservations | null;
  readonly #path: string;
  readonly #log: Logger;

  private constructor(path: string, kept: Reservations | null, log: Logger) {
    this.#path = path;
    this.kept = kept;
    this.#log = log;
  }

  /**
   * Reads the reservations of the LUN's file, if any exist. `isNew`: the LUN's file was just created, so reservations
   * beside it belong to an earlier file and are removed.
   * @throws ConfigError for a file that cannot be read or understood
   */
  static async open(lunPath: string, isNew: boolean, log: Logger): Promise<ReservationFile> {
    const path = lunPath + SUFFIX;
    if (isNew) {
      if (await removeStale(path)) {
        log.warn({ path }, 'reservations of an earlier LUN of that name were removed');
      }
      return new ReservationFile(path, null, log);
    }
    const kept = await readKept(path);
    if (kept !== null) {
      const { registrations, reservation } = kept;
      const facts = { path, registrations: registrations.length, type: reservation?.type ?? null };
      log.info(facts, 'persistent reservations were kept');
    }
    return new ReservationFile(path, kept, log);
  }

  async keep(state: Reservations): Promise<void> {
    try {
      if (state.persists) await this.#replace(textOf(state));
      else await this.#remove();
    } catch (error) {
      const facts = { path: this.#path, reason: messageOf(error) };
      this.#log.error(facts, 'the reservations could not be kept');
      throw error;
    }
  }

  async #replace(text: string): Promise<void> {
    const temporary = `${this.#path}.new`;
    await remove(temporary);
    // `wx` creates a new file, so the name cannot be another user's link.
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.#path);
    await syncFolder(this.#path);
  }

  async #remove(): Promise<void> {
    await remove(this.#path);
    await syncFolder(this.#path);
  }
}

async function readKept(path: string): Promise<Reservations | null> {
  try {
    const { size } = await stat(path);
    if (size > RESERVATION_FILE_BYTES_MAX) throw new Error(`it has ${size} bytes`);
    return stateOf(await readFile(path, 'utf8'));
  } catch (error) {
    if (isMissing(error)) return null;
    throw new ConfigError(
      'lun-reservations',
      `the LUN's reservations in ${path} cannot be read (${messageOf(error)}); remove the file if no initiator needs them`,
      { path },
      error,
    );
  }
}

function textOf({ registrations, reservation }: Reservations): string {
  const type = TYPE_NAMES.find((name) => ReservationType[name] === reservation?.type);
  const holder = registrations.find(({ portKey }) => portKey === reservation?.holder);
  const content: z.infer<typeof schema> = {
    version: VERSION,
    registrations: registrations.map(({ port, key, allTargetPorts }) => ({
      port: initiatorPortName(port),
      key: `0x${key}`,
      allTargetPorts,
    })),
    reservation:
      type === undefined
        ? null
        : { type, holder: holder === undefined ? null : initiatorPortName(holder.port) },
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}

/** @throws Error when the text is not a valid state; the message is a clause for people */
function stateOf(text: string): Reservations {
  const parsed = schema.safeParse(JSON.parse(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown'}`);
  }
  const { registrations, reservation } = parsed.data;
  const found = registrations.map(({ port: name, key, allTargetPorts }): Registration => {
    const port = portNamed(name);
    return { port, portKey: portKeyOf(port), key: key.slice(2), allTargetPorts };
  });
  if (new Set(found.map(({ portKey }) => portKey)).size !== found.length) {
    throw new Error('an initiator port is registered twice');
  }
  const state = { ...NO_RESERVATIONS, registrations: found, persists: true };
  if (reservation === null) return state;
  const { type, holder } = reservation;
  const holderKey = holder === null ? null : portKeyOf(portNamed(holder));
  const isHeld = type.endsWith('AllRegistrants')
    ? holder === null && found.length > 0
    : found.some(({ portKey }) => portKey === holderKey);
  if (!isHeld) throw new Error('the holder of the reservation is not registered');
  return { ...state, reservation: { type: ReservationType[type], holder: holderKey } };
}

function portNamed(name: string): InitiatorPort {
  const port = parseInitiatorPortName(name);
  if (port === null) throw new Error(`${JSON.stringify(name)} is no initiator port`);
  return port;
}

/** False when the file does not exist. */
async function remove(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** @throws ConfigError when an old file cannot be removed */
async function removeStale(path: string): Promise<boolean> {
  try {
    return await remove(path);
  } catch (error) {
    throw new ConfigError(
      'lun-reservations',
      `the reservations of an earlier LUN in ${path} cannot be removed: ${messageOf(error)}`,
      { path },
      error,
    );
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Flushes a folder, so that a rename or removal in it survives a power loss. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
