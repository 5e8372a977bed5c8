import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NbdProtocolError } from '../../src/nbd/errors.js';
import { NbdExport, fixedExports } from '../../src/nbd/export.js';
import type { ExportTerms } from '../../src/nbd/export.js';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';
import { Negotiation } from '../../src/nbd/negotiation.js';
import { NbdOption } from '../../src/nbd/wire.js';
import {
  OPT,
  hex,
  infoData,
  option,
  parseOptionReplies,
  u16,
  u32,
  u64,
} from '../support/nbd/client.js';
import type { OptionReplyMessage } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';

const MIB = 1024 * 1024;
const [ACK, SERVER, INFO] = [1, 2, 3];
const [ERR_UNSUP, ERR_INVALID, ERR_UNKNOWN, ERR_SHUTDOWN, ERR_TOO_BIG] = [
  0x80000001, 0x80000003, 0x80000006, 0x80000007, 0x80000009,
];
const GREETING = hex('4e42444d41474943 49484156454f5054 0003');
/** HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO */
const FLAGS = 0b1101_0110_1101;

const EXPORTS = [
  new NbdExport({ name: 'disk', description: 'a disk', device: new RamDevice(MIB) }),
  new NbdExport({ name: 'größe', device: new RamDevice(2 * MIB, { minimumBytes: 512 }) }),
];

/** A negotiation, and everything that it says. */
class Bed {
  readonly negotiation: Negotiation;
  sent = Buffer.alloc(0);
  chosen: NbdExport | null = null;
  terms: ExportTerms | null = null;
  end: NbdProtocolError | null | undefined = undefined;

  constructor(limits: Partial<typeof DEFAULT_LIMITS> = {}, exports = EXPORTS) {
    this.negotiation = new Negotiation({
      exports: fixedExports(exports),
      limits: { ...DEFAULT_LIMITS, ...limits },
      payloadBytesMax: 32 * MIB,
      handler: {
        send: (bytes) => (this.sent = Buffer.concat([this.sent, bytes])),
        refresh: (_item, done) => done(true),
        answered: () => undefined,
        chosen: (item, terms) => {
          this.chosen = item;
          this.terms = terms;
        },
        startTls: () => undefined,
        ended: (error) => (this.end = error),
      },
    });
    this.negotiation.start();
  }

  /** Everything up to the first option, as after `start` and 3 or other client flags. */
  static ready(flags = 3, limits: Partial<typeof DEFAULT_LIMITS> = {}): Bed {
    const bed = new Bed(limits);
    bed.take();
    bed.receive(u32(flags));
    return bed;
  }

  receive(...parts: Uint8Array[]): number {
    const bytes = Buffer.concat(parts);
    return this.negotiation.receive(bytes, 0, bytes.length);
  }

  take(): Buffer {
    const { sent } = this;
    this.sent = Buffer.alloc(0);
    return sent;
  }

  /** The replies to one option. */
  ask(number: number, data?: Uint8Array): OptionReplyMessage[] {
    this.receive(option(number, data));
    return parseOptionReplies(this.take());
  }
}

function typesOf(replies: readonly OptionReplyMessage[]): number[] {
  return replies.map((reply) => reply.type);
}

describe('the greeting', () => {
  it('offers fixed newstyle without zeroes', () => {
    expect(new Bed().take()).toEqual(GREETING);
  });

  it.each([0, 1, 2, 3])('accepts client flags %i', (flags) => {
    const bed = Bed.ready(flags);
    expect(bed.end).toBeUndefined();
    expect(typesOf(bed.ask(OPT.list))).toEqual([SERVER, SERVER, ACK]);
  });

  it.each([4, 0x80000000, 0xffffffff])('closes on unknown client flags 0x%x', (flags) => {
    const bed = Bed.ready(flags);
    expect(bed.end?.code).toBe('nbd-client-flags');
    expect(bed.take()).toHaveLength(0);
  });
});

describe('EXPORT_NAME', () => {
  it('answers with size and flags, and no zeroes when both sides said so', () => {
    const bed = Bed.ready(3);
    bed.receive(option(OPT.exportName, Buffer.from('disk')));
    expect(bed.take()).toEqual(Buffer.concat([u64(MIB), u16(FLAGS)]));
    expect(bed.chosen?.name).toBe('disk');
  });

  it('adds 124 zeroes for a client that did not refuse them', () => {
    const bed = Bed.ready(1);
    bed.receive(option(OPT.exportName, Buffer.from('disk')));
    expect(bed.take()).toEqual(Buffer.concat([u64(MIB), u16(FLAGS), Buffer.alloc(124)]));
  });

  it('leaves the bytes behind it to the transmission phase', () => {
    const bed = Bed.ready();
    const opening = option(OPT.exportName, Buffer.from('disk'));
    expect(bed.receive(opening, Buffer.from('request'))).toBe(opening.length);
  });

  it.each([
    ['unknown', Buffer.from('nope')],
    ['with a NUL', Buffer.from('disk\0')],
    ['no UTF-8', hex('ff fe')],
    ['longer than 4096 bytes', Buffer.alloc(4097, 0x61)],
    ['too long to be read', Buffer.alloc(100_000, 0x61)],
    ['empty, without a default export', Buffer.alloc(0)],
  ])('closes without a word on a name that is %s', (_, name) => {
    const bed = Bed.ready();
    bed.receive(option(OPT.exportName, name));
    expect(bed.end).toBeInstanceOf(Error);
    expect(bed.chosen).toBeNull();
    expect(bed.take()).toHaveLength(0);
  });
});

describe('ABORT', () => {
  it.each([0, 5, 100_000])('is acknowledged and ends the handshake, with %i bytes of data', (n) => {
    const bed = Bed.ready();
    expect(bed.ask(OPT.abort, Buffer.alloc(n))).toMatchObject([{ option: 2, type: ACK }]);
    expect(bed.end).toBeNull();
  });
});

describe('LIST', () => {
  it('names every export with its description', () => {
    const replies = Bed.ready().ask(OPT.list);
    expect(typesOf(replies)).toEqual([SERVER, SERVER, ACK]);
    expect(replies[0]!.data).toEqual(Buffer.concat([u32(4), Buffer.from('diska disk')]));
    expect(replies[1]!.data).toEqual(Buffer.concat([u32(7), Buffer.from('größe')]));
    expect(replies[2]!.data).toHaveLength(0);
  });

  it('with data is invalid', () => {
    expect(typesOf(Bed.ready().ask(OPT.list, Buffer.alloc(1)))).toEqual([ERR_INVALID]);
  });

  it('of no exports is just an acknowledgement', () => {
    const bed = new Bed({}, []);
    bed.take();
    bed.receive(u32(3));
    expect(typesOf(bed.ask(OPT.list))).toEqual([ACK]);
  });
});

describe.each([
  ['INFO', OPT.info],
  ['GO', OPT.go],
])('%s', (_, number) => {
  it('describes the export with its size and flags', () => {
    const bed = Bed.ready();
    const replies = bed.ask(number, infoData('disk'));
    expect(typesOf(replies)).toEqual([INFO, ACK]);
    expect(replies[0]!.data).toEqual(Buffer.concat([u16(0), u64(MIB), u16(FLAGS)]));
    expect(bed.chosen?.name).toBe(number === OPT.go ? 'disk' : undefined);
  });

  it('adds name, description and block size when asked, each once, and ignores unknown requests', () => {
    const replies = Bed.ready().ask(number, infoData('disk', [3, 1, 2, 99, 1]));
    expect(typesOf(replies)).toEqual([INFO, INFO, INFO, INFO, ACK]);
    const texts = replies.slice(1, 4).map((reply) => reply.data);
    expect(texts).toEqual([
      Buffer.concat([u16(1), Buffer.from('disk')]),
      Buffer.concat([u16(2), Buffer.from('a disk')]),
      Buffer.concat([u16(3), u32(1), u32(4096), u32(32 * MIB)]),
    ]);
  });

  it('tells of a block size above 1 unasked, and of no empty description', () => {
    const replies = Bed.ready().ask(number, infoData('größe', [2]));
    expect(replies.map((reply) => reply.data.subarray(0, 6))).toEqual([
      Buffer.concat([u16(0), u32(0)]),
      Buffer.concat([u16(3), u32(512)]),
      Buffer.alloc(0),
    ]);
  });

  it('of an unknown export is refused in words, and the handshake goes on', () => {
    const bed = Bed.ready();
    const replies = bed.ask(number, infoData('nope'));
    expect(typesOf(replies)).toEqual([ERR_UNKNOWN]);
    expect(replies[0]!.data.toString()).toBe('there is no export "nope"');
    expect(typesOf(bed.ask(number, infoData('disk')))).toEqual([INFO, ACK]);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['five bytes', Buffer.alloc(5)],
    [
      'a name longer than the data (CVE-2022-26496)',
      Buffer.concat([u32(7), Buffer.alloc(6, 0x61)]),
    ],
    ['a name of 0xffffffff bytes (CVE-2022-26495)', Buffer.concat([u32(0xffffffff), u16(0)])],
    ['a name of 0xfffffffa bytes', Buffer.concat([u32(0xfffffffa), Buffer.alloc(20, 0x61)])],
    [
      'a name that leaves no room for the number of requests',
      Buffer.concat([u32(5), Buffer.alloc(6, 0x61)]),
    ],
    ['a name above 4096 bytes', infoData('a'.repeat(4097))],
    ['a name with a NUL', infoData('di\0sk')],
    ['a name that is no UTF-8', Buffer.concat([u32(1), hex('80'), u16(0)])],
    ['fewer requests than announced', Buffer.concat([u32(1), Buffer.from('d'), u16(2), u16(0)])],
    ['more requests than announced', Buffer.concat([infoData('disk', []), u16(0)])],
    ['half a request', Buffer.concat([infoData('disk', [0]), Buffer.alloc(1)])],
  ])('with %s is invalid, and the handshake goes on', (_what, data) => {
    const bed = Bed.ready();
    expect(typesOf(bed.ask(number, data))).toEqual([ERR_INVALID]);
    expect(typesOf(bed.ask(OPT.list))).toEqual([SERVER, SERVER, ACK]);
  });

  it('takes a name of exactly 4096 bytes', () => {
    expect(typesOf(Bed.ready().ask(number, infoData('é'.repeat(2048))))).toEqual([ERR_UNKNOWN]);
  });

  it('finds the default export under the empty name', () => {
    const bed = new Bed({}, EXPORTS.slice(0, 1));
    bed.take();
    bed.receive(u32(3));
    const replies = bed.ask(number, infoData('', [1]));
    expect(replies[1]!.data.toString('utf8', 2)).toBe('disk');
  });
});

describe('any other option', () => {
  it.each([0, 4, 5, 12, 1000, 0xffffffff])('%i is unsupported', (number) => {
    const bed = Bed.ready();
    for (const length of [0, 3, 16384, 16385, MIB]) {
      const replies = bed.ask(number, Buffer.alloc(length));
      expect(replies).toHaveLength(1);
      expect(replies[0]).toMatchObject({ option: number });
      const isTooBig = length > 16384 && number >= 4 && number <= 11;
      expect(replies[0]!.type).toBe(isTooBig ? ERR_TOO_BIG : ERR_UNSUP);
    }
    expect(bed.end).toBeUndefined();
  });
});

describe('limits', () => {
  it('refuse a known option whose data is too long, and go on', () => {
    const bed = Bed.ready();
    for (const number of [OPT.list, OPT.info, OPT.go]) {
      expect(typesOf(bed.ask(number, Buffer.alloc(20_000)))).toEqual([ERR_TOO_BIG]);
    }
    expect(typesOf(bed.ask(OPT.list))).toEqual([SERVER, SERVER, ACK]);
  });

  it('close on option data that is too long to be skipped (CVE-2017-15119)', () => {
    for (const number of [OPT.go, OPT.exportName, 4711]) {
      const bed = Bed.ready();
      bed.receive(Buffer.from('IHAVEOPT'), u32(number), u32(MIB + 1));
      expect(bed.end?.code).toBe('nbd-option-length');
      expect(bed.take()).toHaveLength(0);
    }
  });

  it('close when the options do not end', () => {
    const bed = Bed.ready(3, { optionsMax: 3 });
    for (let count = 0; count < 3; count++) expect(bed.ask(OPT.list)).toHaveLength(3);
    bed.receive(option(OPT.list));
    expect(bed.end?.code).toBe('nbd-too-many-options');
  });
});

describe('a server that is shutting down', () => {
  it('answers every option with ERR_SHUTDOWN, except ABORT', () => {
    const bed = Bed.ready();
    bed.negotiation.shutDown();
    for (const number of [OPT.list, OPT.info, OPT.go, OPT.startTls, 99]) {
      expect(typesOf(bed.ask(number, infoData('disk')))).toEqual([ERR_SHUTDOWN]);
    }
    expect(typesOf(bed.ask(OPT.abort))).toEqual([ACK]);
    expect(bed.end).toBeNull();
  });

  it('closes on EXPORT_NAME, which has no other answer', () => {
    const bed = Bed.ready();
    bed.negotiation.shutDown();
    bed.receive(option(OPT.exportName, Buffer.from('disk')));
    expect(bed.end).toBeNull();
    expect(bed.chosen).toBeNull();
  });
});

describe('garbage', () => {
  it('instead of an option closes the connection', () => {
    const bed = Bed.ready();
    bed.receive(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    expect(bed.end?.code).toBe('nbd-option-magic');
  });

  it('is not read any more once the handshake is over', () => {
    const bed = Bed.ready();
    expect(bed.receive(option(OPT.abort), option(OPT.list))).toBe(16);
    expect(bed.receive(option(OPT.list))).toBe(0);
  });

  it('never throws, and never makes us say more than the options ask for', () => {
    const junk = fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 });
    fc.assert(
      fc.property(junk, fc.boolean(), (parts, isReady) => {
        const bed = isReady ? Bed.ready() : new Bed();
        for (const part of parts) bed.receive(part);
      }),
    );
  });
});

const optionArbitrary = fc.oneof(
  fc.record({
    number: fc.constantFrom(OPT.info, OPT.list, OPT.startTls, OPT.structured, 99),
    data: fc.uint8Array({ maxLength: 40 }),
  }),
  fc.record({
    number: fc.constant(OPT.info),
    data: fc
      .tuple(fc.constantFrom('disk', 'größe', 'nope', ''), fc.array(fc.nat(5), { maxLength: 4 }))
      .map(([name, types]): Uint8Array => infoData(name, types)),
  }),
);

describe('any sequence of options', () => {
  it('has one final reply for each, in order, and GO at its end enters the transmission phase', () => {
    fc.assert(
      fc.property(fc.array(optionArbitrary, { maxLength: 30 }), (options) => {
        const bed = Bed.ready();
        for (const { number, data } of options) {
          const replies = bed.ask(number, data);
          for (const reply of replies) expect(reply.option).toBe(number);
          const finals = replies.filter(({ type }) => type === ACK || type >= ERR_UNSUP);
          expect(finals).toEqual(replies.slice(-1));
        }
        bed.receive(option(OPT.go, infoData('disk')));
        expect(bed.chosen?.name).toBe('disk');
      }),
    );
  });

  it('gives the same replies however its bytes are split', () => {
    const splits = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.array(optionArbitrary, { maxLength: 8 }), splits, (options, sizes) => {
        const stream = Buffer.concat([
          u32(3),
          ...options.map(({ number, data }) => option(number, data)),
          option(NbdOption.EXPORT_NAME, Buffer.from('disk')),
        ]);
        const whole = new Bed();
        whole.receive(stream);
        const split = new Bed();
        for (let at = 0, index = 0; at < stream.length; index++) {
          const size = sizes[index % sizes.length] ?? 1;
          split.receive(stream.subarray(at, at + size));
          at += size;
        }
        expect(split.sent.equals(whole.sent)).toBe(true);
        expect(split.chosen?.name).toBe('disk');
      }),
    );
  });
});
