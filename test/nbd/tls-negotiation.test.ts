import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { visibleExports } from '../../src/nbd/visible-exports.js';
import type { NbdProtocolError } from '../../src/nbd/errors.js';
import { NbdExport, fixedExports } from '../../src/nbd/export.js';
import type { ExportTerms } from '../../src/nbd/export.js';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';
import { Negotiation } from '../../src/nbd/negotiation.js';
import type { TlsStance } from '../../src/nbd/option-context.js';
import { OPT, infoData, option, parseOptionReplies, u32 } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';

const MIB = 1024 * 1024;
const [ACK, ERR_UNSUP, ERR_INVALID, ERR_TLS_REQD, ERR_UNKNOWN] = [
  1, 0x80000001, 0x80000003, 0x80000005, 0x80000006,
];
const device = new RamDevice(MIB);
const rule = { certificates: null, psk: ['carol'], networks: null };
const exports = fixedExports([
  new NbdExport({ name: 'open', device }),
  new NbdExport({ name: 'guarded', device, allow: rule }),
]);

/** One handshake after another, as a connection has them. */
class Bed {
  negotiation: Negotiation;
  sent = Buffer.alloc(0);
  startedTls = false;
  terms: ExportTerms | null = null;
  end: NbdProtocolError | null | undefined = undefined;

  constructor(tls: TlsStance, flags = 3) {
    this.negotiation = this.#negotiation(tls);
    this.negotiation.start();
    this.take();
    this.receive(u32(flags));
  }

  /** What a connection does when TLS is up. */
  secure(): void {
    const plain = this.negotiation;
    this.negotiation = this.#negotiation('secured');
    this.negotiation.continueSecured(plain);
  }

  receive(bytes: Buffer): number {
    return this.negotiation.receive(bytes, 0, bytes.length);
  }

  take(): Buffer {
    const { sent } = this;
    this.sent = Buffer.alloc(0);
    return sent;
  }

  ask(number: number, data?: Uint8Array): number[] {
    this.receive(option(number, data));
    return parseOptionReplies(this.take()).map(({ type }) => type);
  }

  #negotiation(tls: TlsStance): Negotiation {
    const peer = { address: null, certificateNames: [], pskIdentity: null };
    return new Negotiation({
      exports: visibleExports(exports, peer, tls),
      limits: DEFAULT_LIMITS,
      payloadBytesMax: 32 * MIB,
      tls,
      handler: {
        send: (bytes) => (this.sent = Buffer.concat([this.sent, bytes])),
        refresh: (_item, done) => done(true),
        answered: () => undefined,
        chosen: (_item, terms) => (this.terms = terms),
        startTls: () => (this.startedTls = true),
        ended: (error) => (this.end = error),
      },
    });
  }
}

describe('NBD_OPT_STARTTLS', () => {
  it.each<[TlsStance, number]>([
    ['off', ERR_UNSUP],
    ['offered', ACK],
    ['required', ACK],
    ['secured', ERR_INVALID],
  ])('where TLS is %s', (stance, reply) => {
    const bed = new Bed(stance);
    expect(bed.ask(OPT.startTls)).toEqual([reply]);
    expect(bed.startedTls).toBe(reply === ACK);
  });

  it.each<TlsStance>(['offered', 'required'])('with data is refused where it is %s', (stance) => {
    const bed = new Bed(stance);
    expect(bed.ask(OPT.startTls, Buffer.from('x'))).toEqual([ERR_INVALID]);
    expect(bed.startedTls).toBe(false);
    expect(bed.ask(OPT.startTls)).toEqual([ACK]);
  });

  it('ends the handshake where it is, and leaves what follows alone', () => {
    const bed = new Bed('offered');
    const behind = option(OPT.go, infoData('open'));
    const bytes = Buffer.concat([option(OPT.startTls), behind]);
    expect(bed.receive(bytes)).toBe(bytes.length - behind.length);
    expect(bed.negotiation.isOver).toBe(true);
    expect(bed.terms).toBeNull();
  });

  it('takes nothing of what was agreed on along', () => {
    const bed = new Bed('offered');
    expect(bed.ask(OPT.structured)).toEqual([ACK]);
    bed.ask(OPT.startTls);
    bed.secure();
    expect(bed.ask(OPT.go, infoData('open')).at(-1)).toBe(ACK);
    expect(bed.terms).toMatchObject({ replyStyle: 'simple', contexts: [] });
  });

  it.each([
    [1, 134],
    [3, 10],
  ])('takes the client flags along: %i', (flags, bytes) => {
    const bed = new Bed('required', flags);
    bed.ask(OPT.startTls);
    bed.secure();
    bed.receive(option(OPT.exportName, Buffer.from('open')));
    expect(bed.take()).toHaveLength(bytes);
  });

  it('takes a shutdown along', () => {
    const bed = new Bed('offered');
    bed.ask(OPT.startTls);
    bed.negotiation.shutDown();
    bed.secure();
    expect(bed.ask(OPT.list)).toEqual([0x80000007]);
  });
});

describe('TLS_REQD', () => {
  it('is never said where there is no TLS, or where it is up', () => {
    for (const stance of ['off', 'secured'] as const) {
      const bed = new Bed(stance);
      for (let number = 2; number < 20; number++) {
        if (bed.negotiation.isOver) break;
        if (number === OPT.abort) continue;
        expect(bed.ask(number, infoData('guarded'))).not.toContain(ERR_TLS_REQD);
      }
      expect(bed.ask(OPT.go, infoData('guarded'))).toEqual([ERR_UNKNOWN]);
    }
  });

  it('is said by one that offers it to INFO and GO only, of guarded and of missing exports', () => {
    const bed = new Bed('offered');
    for (const name of ['guarded', 'missing']) {
      expect(bed.ask(OPT.info, infoData(name))).toEqual([ERR_TLS_REQD]);
      expect(bed.ask(OPT.go, infoData(name))).toEqual([ERR_TLS_REQD]);
    }
    expect(bed.ask(77)).toEqual([ERR_UNSUP]);
    expect(bed.ask(OPT.go, infoData('open')).at(-1)).toBe(ACK);
  });

  it('is all that one says that requires it, whatever a client sends', () => {
    const anOption = fc.record({
      number: fc.nat(20).filter((number) => ![1, 2, 5].includes(number)),
      data: fc.uint8Array({ maxLength: 100 }),
    });
    fc.assert(
      fc.property(fc.array(anOption, { maxLength: 20 }), (sequence) => {
        const bed = new Bed('required');
        for (const { number, data } of sequence) {
          expect(bed.ask(number, data)).toEqual([ERR_TLS_REQD]);
        }
        expect(bed.terms).toBeNull();
        expect(bed.end).toBeUndefined();
      }),
    );
  });

  it('cannot be said to EXPORT_NAME, so that the connection ends', () => {
    const required = new Bed('required');
    expect(required.ask(OPT.exportName, Buffer.from('open'))).toEqual([]);
    expect(required.end?.code).toBe('nbd-tls-required');
    const offered = new Bed('offered');
    expect(offered.ask(OPT.exportName, Buffer.from('guarded'))).toEqual([]);
    expect(offered.end?.code).toBe('nbd-unknown-export');
  });
});
