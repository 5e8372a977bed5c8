import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { problemWithInvalidate, problemWithReceived } from '../../src/iser/received-pdu.js';
import { IserHeaderType } from '../../src/iscsi/iser-header.js';
import { encodeHello } from '../support/iser/hello.js';
import { bhsOf, IserBed, Op } from '../support/iser/upper-layer.js';

function problemWith(message: Uint8Array): string | null {
  const padded = new Uint8Array(Math.max(message.length, 76) + 8);
  padded.set(message, 8);
  return problemWithReceived(new DataView(padded.buffer), 8, message.length);
}

function message(opcode: number, declared: number, actual: number, ahsWords = 0): Uint8Array {
  const bytes = new Uint8Array(76 + actual);
  bytes[0] = 0x10;
  bytes.set(bhsOf(opcode, 1, declared, ahsWords), 28);
  return bytes;
}

/** The same rules, said the slow way. */
function isPdu(bytes: Uint8Array): boolean {
  if (bytes.length < 76 || bytes[0]! >> 4 !== 1 || bytes[32] !== 0) return false;
  const declared = (bytes[33]! << 16) | (bytes[34]! << 8) | bytes[35]!;
  const actual = bytes.length - 76;
  return (
    actual === declared || (actual % 4 === 0 && actual - declared > 0 && actual - declared < 4)
  );
}

describe('a received message', () => {
  it('is a PDU when its length is what its DataSegmentLength says, padded or not', () => {
    for (const [declared, actual] of [
      [0, 0],
      [98, 98],
      [98, 100],
      [100, 100],
      [8192, 8192],
    ] as const) {
      expect(problemWith(message(Op.response, declared, actual))).toBeNull();
    }
  });

  it('is none when it is shorter or longer', () => {
    for (const [declared, actual] of [
      [98, 97],
      [98, 99],
      [98, 101],
      [98, 104],
      [0, 4],
      [4, 0],
      [0xffffff, 8192],
    ] as const) {
      expect(problemWith(message(Op.response, declared, actual))).toContain('DataSegmentLength');
    }
  });

  it('is none with additional header segments', () => {
    expect(problemWith(message(Op.response, 0, 0, 1))).toContain('4 bytes of additional header');
  });

  it('is none when it is cut anywhere in its headers', () => {
    const whole = message(Op.response, 0, 0);
    for (let length = 0; length < 76; length++) {
      expect(problemWith(whole.subarray(0, length))).toContain('shorter than');
    }
  });

  it('is none when it is a Hello, a HelloReply or something reserved', () => {
    const bytes = new Uint8Array(28);
    const view = new DataView(bytes.buffer);
    const fields = { versionMax: 1, version: 1, readDepth: 1 };
    encodeHello(view, 0, { ...fields, type: IserHeaderType.hello, isReject: false });
    expect(problemWith(bytes)).toContain('of hello');
    encodeHello(view, 0, { ...fields, type: IserHeaderType.helloReply, isReject: false });
    expect(problemWith(bytes)).toContain('of helloReply');
    encodeHello(view, 0, { ...fields, type: IserHeaderType.helloReply, isReject: true });
    expect(problemWith(bytes)).toContain('rejected');
    bytes[0] = 0xf0;
    expect(problemWith(bytes)).toContain('reserved type 0xf0');
  });

  it('is judged as the rules say, whatever its bytes', () => {
    const anything = fc.uint8Array({ maxLength: 300 });
    const nearly = fc
      .record({
        declared: fc.integer({ min: 0, max: 220 }),
        actual: fc.integer({ min: 0, max: 220 }),
        first: fc.constantFrom(0x10, 0x10, 0x1f, 0x20, 0x00),
        ahs: fc.constantFrom(0, 0, 0, 1, 255),
      })
      .map(({ declared, actual, first, ahs }) => {
        const bytes = message(Op.response, declared, actual, ahs);
        bytes[0] = first;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(anything, nearly), (bytes) => {
        expect(problemWith(bytes) === null).toBe(isPdu(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it('may invalidate a key only if that was agreed on, and only as a SCSI response', () => {
    for (let opcode = 0; opcode < 64; opcode++) {
      const view = new DataView(message(opcode, 0, 0).buffer);
      expect(problemWithInvalidate(view, 0, true) === null).toBe(opcode === Op.response);
      expect(problemWithInvalidate(view, 0, false)).toContain('not agreed on');
    }
  });
});

describe('a target that sends garbage', () => {
  let bed: IserBed | null = null;

  afterEach(async () => {
    await bed?.close();
    bed = null;
  });

  it.each(['login', 'fullFeature'] as const)(
    'during %s loses the connection, or what it said goes up; nothing else happens',
    async (phase) => {
      const messages = fc.oneof(
        fc.uint8Array({ maxLength: 9000 }),
        fc.uint8Array({ minLength: 76, maxLength: 400 }).map((bytes) => {
          bytes[0] = 0x10;
          bytes[32] = 0;
          bytes.set([0, 0, bytes.length - 76], 33);
          return bytes;
        }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(messages, { minLength: 1, maxLength: 4 }), async (garbage) => {
          const here = phase === 'login' ? await IserBed.connected() : await IserBed.fullFeature();
          bed = here;
          if (phase === 'login') {
            here.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
            await here.far.received(1);
          } else {
            here.tasks.forEach((task, tag) => here.upper.read(task, tag, here.slab, 0, 4096));
          }
          for (const bytes of garbage) here.far.sendRaw(bytes);
          here.far.disconnect();
          await here.upper.ended;
          const accepted = here.upper.pdus.length;
          expect(accepted).toBeLessThanOrEqual(garbage.filter(isPdu).length);
          expect(here.upper.terminateCount).toBe(1);
          expect(here.upper.activeAtEnd).toBe(0);
          expect(here.slab.bytes.every((byte) => byte === 0)).toBe(true);
          await here.close();
          bed = null;
        }),
        { numRuns: 60 },
      );
    },
  );
});
