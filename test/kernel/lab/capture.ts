import { join } from 'node:path';
import { mustRunOnHost } from './host-command.js';
import { guestFolder } from './project.js';

/** Frames of a capture as Wireshark reads them, iSER over iWARP included. */
export class Capture {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** One line, with its number, for each frame that the display filter takes. */
  async frames(filter: string): Promise<string[]> {
    const text = await mustRunOnHost('tshark', [
      ...['-r', this.#path, '-Y', filter, '-X', `lua_script:${ISER_DISSECTOR}`],
      // It guesses wrong about what a Send carries.
      ...['--disable-protocol', 'rpcordma'],
    ]);
    return text.split('\n').filter((line) => line !== '');
  }
}

const ISER_DISSECTOR = join(guestFolder, '..', 'iser-over-iwarp.lua');
