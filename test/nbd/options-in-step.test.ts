/**
 * After every option, refused or not, the server and its client agree on where the next one begins; or the handshake is
 * over before another byte is interpreted. What is sent as data here are options: a server out of step obeys them.
 */
import { describe, expect, it } from 'vitest';
import { NbdExport, fixedExports } from '../../src/nbd/export.js';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';
import { Negotiation } from '../../src/nbd/negotiation.js';
import type { TlsStance } from '../../src/nbd/option-context.js';
import { OPT, infoData, metaData, option, parseOptionReplies, u32 } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';

const LIMITS = { ...DEFAULT_LIMITS, optionBytesMax: 64, optionSkipBytesMax: 256 };
const NUMBERS = [...Object.values(OPT), 0, 4, 12, 0xffff_ffff];
const STANCES: readonly (TlsStance | 'refused')[] = [
  'off',
  'offered',
  'required',
  'secured',
  // A client that is one too many.
  'refused',
];
const device = new RamDevice(1024 * 1024);
const EXPORTS = fixedExports([
  new NbdExport({ name: 'disk', device }),
  new NbdExport({ name: 'poisoned', device }),
]);
const POISON = option(OPT.go, infoData('poisoned'));
/** What is sent behind each option: one that nobody knows, which is refused and answered everywhere. */
const CANARY_NUMBER = 99;
const CANARY = option(CANARY_NUMBER);

const DATA: readonly (readonly [string, Buffer])[] = [
  ['no data', Buffer.alloc(0)],
  ['an option as its data', POISON],
  ['the name of an export', Buffer.from('disk')],
  ['the data of GO', infoData('disk')],
  ['the data of GO for an export that does not exist', infoData('none')],
  ['the data of SET_META_CONTEXT', metaData('disk', ['base:allocation'])],
  ['data too long to be read', Buffer.alloc(4 * POISON.length, POISON)],
  ['data too long to be skipped', Buffer.alloc(10 * POISON.length, POISON)],
];

class Run {
  readonly #negotiation: Negotiation;
  #sent: Buffer[] = [];
  chosen: string | null = null;

  constructor(stance: TlsStance | 'refused') {
    const isRefused = stance === 'refused';
    this.#negotiation = new Negotiation({
      exports: EXPORTS,
      limits: LIMITS,
      payloadBytesMax: 1024,
      tls: isRefused ? 'off' : stance,
      refusal: isRefused ? 'go away' : null,
      handler: {
        send: (bytes) => this.#sent.push(bytes),
        refresh: (_item, done) => done(true),
        answered: () => undefined,
        chosen: ({ name }) => (this.chosen = name),
        startTls: () => undefined,
        ended: () => undefined,
      },
    });
    this.#negotiation.start();
    this.receive(u32(3));
    this.#sent = [];
  }

  /** Returns how much of it the handshake has taken. */
  receive(bytes: Buffer): number {
    return this.#negotiation.receive(bytes, 0, bytes.length);
  }

  get isOver(): boolean {
    return this.#negotiation.isOver;
  }

  /** The options that were answered, each once. */
  answered(): number[] {
    const finals = parseOptionReplies(Buffer.concat(this.#sent)).filter(
      ({ type }) => type === 1 || type >= 0x8000_0000,
    );
    return finals.map((reply) => reply.option);
  }
}

function judge(run: Run, number: number, takenBytes: number, optionBytes: number): void {
  if (run.chosen === 'poisoned') throw new Error('data was taken for an option');
  if (!run.isOver) {
    const answered = run.answered().join();
    const expected = [number, CANARY_NUMBER].join();
    if (answered !== expected) throw new Error(`answered ${answered} instead of ${expected}`);
  } else if (takenBytes > optionBytes) {
    // What is behind belongs to the transmission phase, to TLS, or to nobody.
    throw new Error('the handshake is over, and has taken what is behind it');
  }
}

describe.each(STANCES)(
  'where TLS (or the client) is %s, client and server stay in step or part',
  (stance) => {
    it.each(DATA)('after every option with %s, cut anywhere', (_what, data) => {
      for (const number of NUMBERS) {
        const asked = option(number, data);
        const bytes = Buffer.concat([asked, CANARY]);
        for (let at = 0; at <= bytes.length; at++) {
          const run = new Run(stance);
          const taken = run.receive(bytes.subarray(0, at));
          judge(run, number, taken + run.receive(bytes.subarray(at)), asked.length);
        }
      }
    });

    it('and a choice or an end comes about', () => {
      const over = NUMBERS.flatMap((number) =>
        DATA.filter(([, data]) => {
          const run = new Run(stance);
          run.receive(option(number, data));
          return run.isOver;
        }),
      );
      expect(over.length).toBeGreaterThan(NUMBERS.length);
    });
  },
);
