import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IscsiProtocolError } from '../../../src/iscsi/errors.js';
import { DISCOVERY_TEXT_BYTES_MAX } from '../../../src/iscsi/limits.js';
import { decodeText } from '../../../src/iscsi/text.js';
import { RESERVED_TAG } from '../../../src/iscsi/wire.js';
import { TARGET_SEND_DATA_BYTES_MAX } from '../../../src/target/session/limits.js';
import { TargetTextExchange } from '../../../src/target/session/text-exchange.js';

const listing = {
  targetName: 'iqn.2026-11.io.example:lab',
  portalGroupTag: 1,
  addresses: Array.from({ length: 20 }, (_, index) => ({ host: `10.0.0.${index}`, port: 3260 })),
};

const first = { final: true, continues: false, targetTransferTag: RESERVED_TAG };

function send(exchange: TargetTextExchange, request: typeof first, text = ''): void {
  const bytes = new TextEncoder().encode(text);
  exchange.receive(request, new DataView(bytes.buffer), 0, bytes.length);
}

/** Fetches the rest of an answer as an initiator does. */
function answer(exchange: TargetTextExchange) {
  const pieces = [Buffer.from(exchange.piece)];
  while (!exchange.isFinal) {
    expect(exchange.continues).toBe(true);
    expect(exchange.targetTransferTag).not.toBe(RESERVED_TAG);
    send(exchange, { ...first, targetTransferTag: exchange.targetTransferTag });
    pieces.push(Buffer.from(exchange.piece));
  }
  expect(exchange.targetTransferTag).toBe(RESERVED_TAG);
  return { pieces, pairs: decodeText(Buffer.concat(pieces)) };
}

describe('SendTargets', () => {
  it('tells the target and all its addresses, in pieces that Linux has room for', () => {
    const exchange = new TargetTextExchange(listing, true);
    send(exchange, first, 'SendTargets=All\0');
    const { pieces, pairs } = answer(exchange);
    expect(pieces.length).toBeGreaterThan(3);
    expect(Math.max(...pieces.map(({ length }) => length))).toBe(TARGET_SEND_DATA_BYTES_MAX);
    expect(pairs[0]).toEqual({ key: 'TargetName', value: listing.targetName });
    expect(pairs.slice(1).map(({ value }) => value)).toEqual(
      listing.addresses.map(({ host }) => `${host}:3260,1`),
    );
  });

  it('tells as many addresses as there is room for', () => {
    const addresses = Array.from({ length: 40_000 }, (_, index) => ({
      host: `2001:db8:1111:2222:3333:4444:5555:${index.toString(16)}`,
      port: 3260,
    }));
    const exchange = new TargetTextExchange({ ...listing, addresses }, true);
    send(exchange, first, 'SendTargets=All\0');
    let bytes = exchange.piece.length;
    while (!exchange.isFinal) {
      send(exchange, { ...first, targetTransferTag: exchange.targetTransferTag });
      bytes += exchange.piece.length;
    }
    expect(bytes).toBeGreaterThan(8 * 0x10000);
    expect(bytes).toBeLessThanOrEqual(DISCOVERY_TEXT_BYTES_MAX);
  });

  it('does not tell its own names of links', () => {
    const addresses = [{ host: 'fe80::1%eth0', port: 3260 }];
    const exchange = new TargetTextExchange({ ...listing, addresses }, true);
    send(exchange, first, 'SendTargets=All\0');
    expect(answer(exchange).pairs[1]).toEqual({
      key: 'TargetAddress',
      value: '[fe80::1]:3260,1',
    });
  });

  it('knows its own name, and no other', () => {
    const ask = (value: string, isDiscovery: boolean) => {
      const exchange = new TargetTextExchange({ ...listing, addresses: [] }, isDiscovery);
      send(exchange, first, `SendTargets=${value}\0`);
      return answer(exchange).pairs;
    };
    const own = [{ key: 'TargetName', value: listing.targetName }];
    expect(ask(listing.targetName, true)).toEqual(own);
    expect(ask(listing.targetName, false)).toEqual(own);
    expect(ask(listing.targetName.toUpperCase(), true)).toEqual(own);
    expect(ask('', false)).toEqual(own);
    expect(ask('', true)).toEqual([]);
    expect(ask('iqn.2026-11.io.example:other', true)).toEqual([]);
    expect(ask('All', false)).toEqual([{ key: 'SendTargets', value: 'Reject' }]);
  });
});

describe('a text exchange', () => {
  it('does not understand other keys', () => {
    const exchange = new TargetTextExchange(listing, false);
    send(exchange, first, 'X-a=1\0MaxBurstLength=5\0');
    expect(answer(exchange).pairs).toEqual([
      { key: 'X-a', value: 'NotUnderstood' },
      { key: 'MaxBurstLength', value: 'NotUnderstood' },
    ]);
  });

  it('takes a request in several PDUs', () => {
    const exchange = new TargetTextExchange({ ...listing, addresses: [] }, true);
    send(exchange, { ...first, final: false, continues: true }, 'SendTar');
    expect(exchange).toMatchObject({ isFinal: false, continues: false });
    expect(exchange.piece).toHaveLength(0);
    const { targetTransferTag } = exchange;
    send(exchange, { ...first, targetTransferTag }, 'gets=All\0');
    expect(answer(exchange).pairs).toHaveLength(1);
  });

  it('does not end before the initiator does', () => {
    const exchange = new TargetTextExchange({ ...listing, addresses: [] }, true);
    send(exchange, { ...first, final: false }, 'SendTargets=All\0');
    expect(exchange).toMatchObject({ isFinal: false, continues: false });
    expect(exchange.piece.length).toBeGreaterThan(0);
    send(exchange, { ...first, targetTransferTag: exchange.targetTransferTag });
    expect(exchange.isFinal).toBe(true);
    expect(exchange.piece).toHaveLength(0);
  });

  it('starts anew without a transfer tag, and refuses one that is not its own', () => {
    const exchange = new TargetTextExchange(listing, true);
    send(exchange, first, 'SendTargets=All\0');
    const { targetTransferTag } = exchange;
    send(exchange, first, 'X-a=1\0');
    expect(exchange.isFinal).toBe(true);
    expect(() => send(exchange, { ...first, targetTransferTag })).toThrow(IscsiProtocolError);
    expect(() => send(exchange, { ...first, continues: true })).toThrow(IscsiProtocolError);
    send(exchange, first, 'X-a=1\0');
    expect(exchange.isFinal).toBe(true);
  });

  it('answers or refuses any bytes, and never holds more than its limit', () => {
    const step = fc.record({
      final: fc.boolean(),
      continues: fc.boolean(),
      isOwnTag: fc.boolean(),
      bytes: fc.uint8Array({ maxLength: 3000 }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const exchange = new TargetTextExchange(listing, true);
        for (const { final, continues, isOwnTag, bytes } of steps) {
          const targetTransferTag = isOwnTag ? exchange.targetTransferTag : RESERVED_TAG;
          const request = { final, continues, targetTransferTag };
          const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
          try {
            exchange.receive(request, view, 0, bytes.length);
          } catch (error) {
            expect(error).toBeInstanceOf(IscsiProtocolError);
          }
          expect(exchange.piece.length).toBeLessThanOrEqual(TARGET_SEND_DATA_BYTES_MAX);
        }
      }),
    );
  });
});
