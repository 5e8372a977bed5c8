import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeCmFlags,
  decodeControlHeader,
  encodeCmPrivateData,
  encodeControlHeader,
  encodePlainHeader,
  ISER_HEADER_BYTES,
  ISER_HEADERS_BYTES,
  IserControlHeader,
  IserHeaderType,
  iserHeaderTypeName,
  isHelloReject,
  LOGIN_RECEIVE_BYTES,
  readIserHeaderType,
} from '../../src/iscsi/iser-header.js';
import { encodeHello } from '../support/iser/hello.js';

function headerOf(fields: Partial<IserControlHeader>): IserControlHeader {
  return Object.assign(new IserControlHeader(), fields);
}

function encoded(header: IserControlHeader): string {
  const bytes = new Uint8Array(ISER_HEADER_BYTES).fill(0xee);
  encodeControlHeader(new DataView(bytes.buffer), 0, header);
  return Buffer.from(bytes).toString('hex');
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('the iSER control header', () => {
  it('is 28 bytes that begin with 0x10 when nothing is advertised', () => {
    const bytes = new Uint8Array(ISER_HEADER_BYTES).fill(0xee);
    encodePlainHeader(new DataView(bytes.buffer), 0);
    expect(Buffer.from(bytes).toString('hex')).toBe('10' + '00'.repeat(27));
    expect(encoded(new IserControlHeader())).toBe('10' + '00'.repeat(27));
  });

  it('carries a read STag as the kernel writes it', () => {
    const header = headerOf({
      isReadStagValid: true,
      readStag: 0x11223344,
      readAddressHigh: 0xffff8880,
      readAddressLow: 0x01020304,
    });
    expect(encoded(header)).toBe('14000000' + '00'.repeat(12) + '11223344' + 'ffff888001020304');
  });

  it('carries a write STag as the kernel writes it', () => {
    const header = headerOf({
      isWriteStagValid: true,
      writeStag: 0xdeadbeef,
      writeAddressHigh: 1,
      writeAddressLow: 0x80000000,
    });
    expect(encoded(header)).toBe('18000000' + 'deadbeef' + '0000000180000000' + '00'.repeat(12));
  });

  it('comes back from its bytes, and writes nothing outside its 28', () => {
    fc.assert(
      fc.property(
        fc.record({
          isWriteStagValid: fc.boolean(),
          writeStag: u32,
          writeAddressHigh: u32,
          writeAddressLow: u32,
          isReadStagValid: fc.boolean(),
          readStag: u32,
          readAddressHigh: u32,
          readAddressLow: u32,
        }),
        (fields) => {
          const header = headerOf(fields);
          const bytes = new Uint8Array(ISER_HEADER_BYTES + 8).fill(0xee);
          const view = new DataView(bytes.buffer);
          encodeControlHeader(view, 4, header);
          const back = new IserControlHeader();
          decodeControlHeader(view, 4, back);
          if (!header.isWriteStagValid) {
            header.writeStag = header.writeAddressHigh = header.writeAddressLow = 0;
          }
          if (!header.isReadStagValid) {
            header.readStag = header.readAddressHigh = header.readAddressLow = 0;
          }
          expect(back).toEqual(header);
          expect([...bytes.slice(0, 4), ...bytes.slice(-4)]).toEqual(Array(8).fill(0xee));
        },
      ),
    );
  });

  it('reads any 28 bytes, and a second decode leaves nothing of the first', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 28, maxLength: 28 }), (bytes) => {
        const out = headerOf({ isReadStagValid: true, readStag: 7, writeStag: 9 });
        decodeControlHeader(new DataView(bytes.buffer, bytes.byteOffset), 0, out);
        const first = bytes[0]!;
        expect(out.isWriteStagValid).toBe((first & 0x08) !== 0);
        expect(out.isReadStagValid).toBe((first & 0x04) !== 0);
        if (!out.isReadStagValid) expect(out.readStag).toBe(0);
        if (!out.isWriteStagValid) expect(out.writeStag).toBe(0);
      }),
    );
  });
});

describe('the other iSER headers', () => {
  it('are recognised by the high half of their first byte', () => {
    const view = new DataView(new ArrayBuffer(28));
    for (let first = 0; first < 256; first++) {
      view.setUint8(0, first);
      expect(readIserHeaderType(view, 0)).toBe(first & 0xf0);
    }
    expect(iserHeaderTypeName(IserHeaderType.hello)).toBe('hello');
    expect(iserHeaderTypeName(0xf0)).toBe('reserved type 0xf0');
  });

  it('carry versions and read depth, and a reply its rejection', () => {
    const bytes = new Uint8Array(28).fill(0xee);
    const view = new DataView(bytes.buffer);
    const base = { versionMax: 10, version: 1, readDepth: 0x0102, isReject: true };
    encodeHello(view, 0, { ...base, type: IserHeaderType.hello });
    expect(Buffer.from(bytes).toString('hex')).toBe('20a10102' + '00'.repeat(24));
    expect(isHelloReject(view, 0)).toBe(false);
    encodeHello(view, 0, { ...base, type: IserHeaderType.helloReply });
    expect(Buffer.from(bytes).toString('hex')).toBe('31a10102' + '00'.repeat(24));
    expect(isHelloReject(view, 0)).toBe(true);
  });
});

describe('the connection manager private data', () => {
  it('is four bytes: flags and zeros', () => {
    expect(Buffer.from(encodeCmPrivateData(0xc0)).toString('hex')).toBe('c0000000');
    expect(encodeCmPrivateData(0x80)).toHaveLength(4);
  });

  it('denies everything when the peer left it out', () => {
    expect(decodeCmFlags(new Uint8Array(0))).toBe(0xc0);
    expect(decodeCmFlags(Uint8Array.of(0x40, 0, 0, 0))).toBe(0x40);
  });
});

it('has the sizes of the kernel header', () => {
  expect(ISER_HEADERS_BYTES).toBe(76);
  expect(LOGIN_RECEIVE_BYTES).toBe(8268);
});
