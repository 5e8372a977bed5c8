import { describe, expect, it } from 'vitest';
import {
  NbdCommand,
  NbdErrno,
  NbdOption,
  OptionReply,
  commandName,
  decodeExtendedRequest,
  decodeRequest,
  encodeExtendedChunk,
  encodeGreeting,
  encodeOptionReply,
  encodeSimpleReply,
  encodeStructuredChunk,
  errnoName,
  isOptionMagic,
  optionName,
  optionReplyName,
} from '../../src/nbd/wire.js';
import type { RequestHeader } from '../../src/nbd/wire.js';
import { hex } from '../support/nbd/client.js';

/** Bytes written by an encoder into the middle of a buffer of 0xee, whose margins must survive. */
function encoded(length: number, encode: (view: DataView, at: number) => void): string {
  const bytes = Buffer.alloc(length + 8, 0xee);
  encode(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 4);
  expect(bytes.readUInt32BE(0)).toBe(0xeeeeeeee);
  expect(bytes.readUInt32BE(length + 4)).toBe(0xeeeeeeee);
  return bytes.toString('hex', 4, length + 4);
}

function emptyHeader(): RequestHeader {
  return {
    magic: 1,
    flags: 1,
    command: 1,
    cookieHigh: 1,
    cookieLow: 1,
    offsetHigh: 1,
    offsetLow: 1,
    lengthHigh: 1,
    lengthLow: 1,
  };
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

describe('golden vectors of proto.md', () => {
  it('greets with NBDMAGIC, IHAVEOPT and the handshake flags', () => {
    expect(encoded(18, (view, at) => encodeGreeting(view, at, 3))).toBe(
      hex('4e42444d41474943 49484156454f5054 0003').toString('hex'),
    );
  });

  it('recognises the magic number of an option and nothing near it', () => {
    const good = hex('49484156454f5054');
    expect(isOptionMagic(viewOf(good), 0)).toBe(true);
    for (let at = 0; at < 8; at++) {
      const bad = Buffer.from(good);
      bad[at]! ^= 1;
      expect(isOptionMagic(viewOf(bad), 0)).toBe(false);
    }
  });

  it('writes an option reply with its 64-bit magic 0x3e889045565a9', () => {
    const reply = { option: NbdOption.GO, type: OptionReply.ERR_UNKNOWN, dataBytes: 5 };
    expect(encoded(20, (view, at) => encodeOptionReply(view, at, reply))).toBe(
      hex('0003e889045565a9 00000007 80000006 00000005').toString('hex'),
    );
  });

  it('reads a request', () => {
    const header = emptyHeader();
    const bytes = hex('ff 25609513 0001 0006 0123456789abcdef fedcba9876543210 00010000');
    decodeRequest(viewOf(bytes), 1, header);
    expect(header).toEqual({
      magic: 0x25609513,
      flags: 1,
      command: NbdCommand.WRITE_ZEROES,
      cookieHigh: 0x01234567,
      cookieLow: 0x89abcdef,
      offsetHigh: 0xfedcba98,
      offsetLow: 0x76543210,
      lengthHigh: 0,
      lengthLow: 0x10000,
    });
  });

  it('reads an extended request', () => {
    const header = emptyHeader();
    const bytes = hex('21e41c71 0020 0001 0123456789abcdef fedcba9876543210 8000000100010000');
    decodeExtendedRequest(viewOf(bytes), 0, header);
    expect(header).toEqual({
      magic: 0x21e41c71,
      flags: 0x20,
      command: NbdCommand.WRITE,
      cookieHigh: 0x01234567,
      cookieLow: 0x89abcdef,
      offsetHigh: 0xfedcba98,
      offsetLow: 0x76543210,
      lengthHigh: 0x80000001,
      lengthLow: 0x10000,
    });
  });

  it('writes a simple reply', () => {
    const encode = (view: DataView, at: number): void =>
      encodeSimpleReply(view, at, NbdErrno.ENOSPC, 0xfedcba98, 0x76543210);
    expect(encoded(16, encode)).toBe(hex('67446698 0000001c fedcba9876543210').toString('hex'));
  });

  const chunk = {
    flags: 1,
    type: 0x8001,
    cookieHigh: 0xfedcba98,
    cookieLow: 0x76543210,
    offsetHigh: 0x00112233,
    offsetLow: 0x44556677,
    payloadBytes: 6,
  };

  it('writes the header of a structured chunk', () => {
    expect(encoded(20, (view, at) => encodeStructuredChunk(view, at, chunk))).toBe(
      hex('668e33ef 0001 8001 fedcba9876543210 00000006').toString('hex'),
    );
  });

  it('writes the header of an extended chunk', () => {
    expect(encoded(32, (view, at) => encodeExtendedChunk(view, at, chunk))).toBe(
      hex('6e8a278c 0001 8001 fedcba9876543210 0011223344556677 0000000000000006').toString('hex'),
    );
  });
});

describe('names for logs', () => {
  it('are those of proto.md', () => {
    expect(optionName(7)).toBe('NBD_OPT_GO');
    expect(optionReplyName(0x80000001)).toBe('NBD_REP_ERR_UNSUP');
    expect(commandName(6)).toBe('NBD_CMD_WRITE_ZEROES');
    expect(errnoName(108)).toBe('NBD_ESHUTDOWN');
  });

  it('show a number that has none', () => {
    expect(optionName(77)).toBe('NBD_OPT_ 77');
    expect(commandName(999)).toBe('NBD_CMD_ 999');
  });
});
