import { describe, expect, it } from 'vitest';
import type { NbdProtocolError } from '../../src/nbd/errors.js';
import { NbdExport, fixedExports } from '../../src/nbd/export.js';
import type { ExportTerms } from '../../src/nbd/export.js';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';
import { Negotiation } from '../../src/nbd/negotiation.js';
import { OPT, infoData, metaData, option, parseOptionReplies, u32 } from '../support/nbd/client.js';
import type { OptionReplyMessage } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';

const [ACK, INFO, META_CONTEXT] = [1, 3, 4];
const [ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG, ERR_EXT_HEADER_REQD] = [
  0x80000003, 0x80000006, 0x80000009, 0x8000000a,
];
const [SEND_DF, STATUS_PAYLOAD] = [1 << 7, 1 << 12];
const ALLOCATION = 'base:allocation';

/** A negotiation past its client flags. */
class Bed {
  readonly negotiation: Negotiation;
  terms: ExportTerms | null = null;
  end: NbdProtocolError | null | undefined = undefined;
  #sent = Buffer.alloc(0);

  constructor() {
    const device = new RamDevice(1024 * 1024);
    const names = ['disk', 'other'];
    this.negotiation = new Negotiation({
      exports: fixedExports(names.map((name) => new NbdExport({ name, device }))),
      limits: DEFAULT_LIMITS,
      payloadBytesMax: 32 * 1024 * 1024,
      handler: {
        send: (bytes) => (this.#sent = Buffer.concat([this.#sent, bytes])),
        refresh: (_item, done) => done(true),
        answered: () => undefined,
        startTls: () => undefined,
        chosen: (_item, terms) => (this.terms = terms),
        ended: (error) => (this.end = error),
      },
    });
    this.negotiation.start();
    this.#sent = Buffer.alloc(0);
    const flags = u32(3);
    this.negotiation.receive(flags, 0, flags.length);
  }

  ask(number: number, data?: Uint8Array): OptionReplyMessage[] {
    const bytes = option(number, data);
    this.negotiation.receive(bytes, 0, bytes.length);
    const replies = parseOptionReplies(this.#sent);
    this.#sent = Buffer.alloc(0);
    return replies;
  }

  typesOf(number: number, data?: Uint8Array): number[] {
    return this.ask(number, data).map(({ type }) => type);
  }

  /** The terms after GO. */
  go(name = 'disk'): ExportTerms {
    this.ask(OPT.go, infoData(name));
    if (this.terms === null) throw new Error('GO was refused');
    return this.terms;
  }

  flagsOf(name = 'disk'): number {
    return this.ask(OPT.info, infoData(name))[0]!.data.readUInt16BE(10);
  }
}

describe('STRUCTURED_REPLY', () => {
  it('is acknowledged, and offers DF from then on', () => {
    const bed = new Bed();
    expect(bed.flagsOf() & SEND_DF).toBe(0);
    expect(bed.typesOf(OPT.structured)).toEqual([ACK]);
    expect(bed.flagsOf() & (SEND_DF | STATUS_PAYLOAD)).toBe(SEND_DF);
    expect(bed.go()).toMatchObject({ replyStyle: 'structured', contexts: [] });
  });

  it('with data is invalid, and changes nothing', () => {
    const bed = new Bed();
    expect(bed.typesOf(OPT.structured, Buffer.alloc(1))).toEqual([ERR_INVALID]);
    expect(bed.go().replyStyle).toBe('simple');
  });

  it('twice is the same as once', () => {
    const bed = new Bed();
    bed.ask(OPT.structured);
    expect(bed.typesOf(OPT.structured)).toEqual([ACK]);
  });

  it('holds for EXPORT_NAME too', () => {
    const bed = new Bed();
    bed.ask(OPT.structured);
    bed.ask(OPT.setMeta, metaData('disk', [ALLOCATION]));
    const opening = option(OPT.exportName, Buffer.from('disk'));
    bed.negotiation.receive(opening, 0, opening.length);
    expect(bed.terms).toMatchObject({ replyStyle: 'structured', contexts: [1] });
  });
});

describe('EXTENDED_HEADERS', () => {
  it.each([[[]], [[OPT.structured]]])('is acknowledged after options %j', (before: number[]) => {
    const bed = new Bed();
    for (const number of before) bed.ask(number);
    expect(bed.typesOf(OPT.extended)).toEqual([ACK]);
    expect(bed.flagsOf() & SEND_DF).toBe(SEND_DF);
    expect(bed.go().replyStyle).toBe('extended');
  });

  it('with data is invalid, and changes nothing', () => {
    const bed = new Bed();
    expect(bed.typesOf(OPT.extended, Buffer.alloc(4))).toEqual([ERR_INVALID]);
    expect(bed.go().replyStyle).toBe('simple');
  });

  it('takes precedence: STRUCTURED_REPLY behind it gets ERR_EXT_HEADER_REQD', () => {
    const bed = new Bed();
    bed.ask(OPT.extended);
    expect(bed.typesOf(OPT.structured)).toEqual([ERR_EXT_HEADER_REQD]);
    expect(bed.go().replyStyle).toBe('extended');
  });

  it('is enough for metadata contexts', () => {
    const bed = new Bed();
    bed.ask(OPT.extended);
    expect(bed.typesOf(OPT.setMeta, metaData('disk', [ALLOCATION]))).toEqual([META_CONTEXT, ACK]);
    expect(bed.go()).toMatchObject({ replyStyle: 'extended', contexts: [1] });
  });

  it('offers the payload of BLOCK_STATUS only with a context for that export', () => {
    const bed = new Bed();
    bed.ask(OPT.extended);
    expect(bed.flagsOf() & STATUS_PAYLOAD).toBe(0);
    bed.ask(OPT.setMeta, metaData('disk', [ALLOCATION]));
    expect(bed.flagsOf() & STATUS_PAYLOAD).toBe(STATUS_PAYLOAD);
    expect(bed.flagsOf('other') & STATUS_PAYLOAD).toBe(0);
  });

  it('ends the connection of a client that then sends EXPORT_NAME', () => {
    const bed = new Bed();
    bed.ask(OPT.extended);
    bed.ask(OPT.exportName, Buffer.from('disk'));
    expect(bed.end?.code).toBe('nbd-export-name-extended');
    expect(bed.terms).toBeNull();
  });
});

describe.each([
  ['LIST_META_CONTEXT', OPT.listMeta],
  ['SET_META_CONTEXT', OPT.setMeta],
])('%s', (_name, number) => {
  const structured = (): Bed => {
    const bed = new Bed();
    bed.ask(OPT.structured);
    return bed;
  };

  it('before structured replies or extended headers is invalid', () => {
    expect(new Bed().typesOf(number, metaData('disk', [ALLOCATION]))).toEqual([ERR_INVALID]);
  });

  it('of an unknown export is refused', () => {
    expect(structured().typesOf(number, metaData('nope', [ALLOCATION]))).toEqual([ERR_UNKNOWN]);
  });

  it('finds base:allocation once, however often it is asked for', () => {
    const replies = structured().ask(number, metaData('disk', [ALLOCATION, ALLOCATION]));
    expect(replies.map(({ type }) => type)).toEqual([META_CONTEXT, ACK]);
    expect(replies[0]!.data.readUInt32BE(0)).toBe(number === OPT.setMeta ? 1 : 0);
    expect(replies[0]!.data.toString('utf8', 4)).toBe(ALLOCATION);
  });

  it('ignores unknown names, other namespaces, and queries without a colon', () => {
    const queries = [
      'base:nope',
      'qemu:dirty-bitmap:x',
      'x-y:',
      'allocation',
      '',
      'Base:allocation',
    ];
    expect(structured().typesOf(number, metaData('disk', queries))).toEqual([ACK]);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['seven bytes', Buffer.alloc(7)],
    ['a name longer than the data', Buffer.concat([u32(5), Buffer.alloc(8, 0x61)])],
    ['a name of 0xffffffff bytes', Buffer.concat([u32(0xffffffff), Buffer.alloc(8)])],
    ['fewer queries than announced', Buffer.concat([u32(0), u32(2), u32(0)])],
    ['0xffffffff queries', Buffer.concat([u32(0), u32(0xffffffff)])],
    ['a query longer than the data', Buffer.concat([u32(0), u32(1), u32(9), Buffer.alloc(8)])],
    ['a query of 0xffffffff bytes', Buffer.concat([u32(0), u32(1), u32(0xffffffff)])],
    ['more data than announced', Buffer.concat([metaData('disk', ['x:']), Buffer.alloc(1)])],
    ['a name above 4096 bytes', metaData('a'.repeat(4097))],
    ['a query above 4096 bytes', metaData('disk', ['a'.repeat(4097)])],
    ['a query with a NUL', metaData('disk', ['base:\0'])],
    ['a query that is no UTF-8', Buffer.concat([u32(0), u32(1), u32(1), Buffer.from([0xff])])],
  ])('with %s is invalid, and the handshake goes on', (_what, data) => {
    const bed = structured();
    expect(bed.typesOf(number, data)).toEqual([ERR_INVALID]);
    expect(bed.typesOf(number, metaData('disk', [ALLOCATION]))).toEqual([META_CONTEXT, ACK]);
  });

  it('with too many queries is too big', () => {
    const queries = Array.from({ length: 65 }, () => ALLOCATION);
    expect(structured().typesOf(number, metaData('disk', queries))).toEqual([ERR_TOO_BIG]);
    const fit = structured().typesOf(number, metaData('disk', queries.slice(1)));
    expect(fit).toEqual([META_CONTEXT, ACK]);
  });
});

describe('LIST_META_CONTEXT', () => {
  it('lists everything without queries, and for the wildcard', () => {
    const bed = new Bed();
    bed.ask(OPT.structured);
    for (const queries of [[], ['base:'], ['x-other:', 'base:']]) {
      expect(bed.typesOf(OPT.listMeta, metaData('disk', queries))).toEqual([META_CONTEXT, ACK]);
    }
    expect(bed.go().contexts).toEqual([]);
  });
});

describe('SET_META_CONTEXT', () => {
  const selected = (): Bed => {
    const bed = new Bed();
    bed.ask(OPT.structured);
    bed.ask(OPT.setMeta, metaData('disk', [ALLOCATION]));
    return bed;
  };

  it('selects, until another one replaces it', () => {
    expect(selected().go().contexts).toEqual([1]);
    const bed = selected();
    expect(bed.typesOf(OPT.setMeta, metaData('disk', []))).toEqual([ACK]);
    expect(bed.go().contexts).toEqual([]);
  });

  it('ignores the wildcard', () => {
    const bed = selected();
    expect(bed.typesOf(OPT.setMeta, metaData('disk', ['base:']))).toEqual([ACK]);
    expect(bed.go().contexts).toEqual([]);
  });

  it.each([
    ['that is invalid', Buffer.alloc(3)],
    ['of an unknown export', metaData('nope', [ALLOCATION])],
    [
      'with too many queries',
      metaData(
        'disk',
        Array.from({ length: 65 }, () => 'x:'),
      ),
    ],
    ['that is too long to be read', Buffer.alloc(20_000)],
  ])('%s selects nothing, and drops what was selected', (_what, data) => {
    const bed = selected();
    bed.ask(OPT.setMeta, data);
    expect(bed.go().contexts).toEqual([]);
  });

  it('holds only for the export that it named', () => {
    expect(selected().go('other').contexts).toEqual([]);
  });

  it('outlives other options, and EXTENDED_HEADERS among them', () => {
    const bed = selected();
    bed.ask(OPT.listMeta, metaData('other', ['base:']));
    bed.ask(OPT.info, infoData('other'));
    bed.ask(OPT.list);
    bed.ask(OPT.extended);
    expect(bed.go()).toMatchObject({ replyStyle: 'extended', contexts: [1] });
  });
});

describe('INFO and GO', () => {
  it('say the same when nothing comes between them', () => {
    const bed = new Bed();
    bed.ask(OPT.extended);
    bed.ask(OPT.setMeta, metaData('disk', [ALLOCATION]));
    const info = bed.ask(OPT.info, infoData('disk', [3]));
    const go = bed.ask(OPT.go, infoData('disk', [3]));
    expect(go.map(({ type, data }) => [type, data])).toEqual(
      info.map(({ type, data }) => [type, data]),
    );
    expect(info.map(({ type }) => type)).toEqual([INFO, INFO, ACK]);
  });
});
