const RESERVE_IN = 0x5e;
const RESERVE_OUT = 0x5f;

export interface ReserveOutFields {
  readonly key?: string;
  readonly serviceActionKey?: string;
  readonly type?: number;
  readonly scope?: number;
  /** Byte 20: SPEC_I_PT 8, ALL_TG_PT 4, APTPL 1. */
  readonly flags?: number;
  /** What follows the 24 bytes. */
  readonly behind?: Buffer;
}

/** A key of one repeated digit, such as `aaaaaaaaaaaaaaaa`. */
export const keyOf = (digit: string): string => digit.repeat(16);

/** The CDB and the parameter list of a PERSISTENT RESERVE OUT. */
export function reserveOutCommand(
  action: number,
  fields: ReserveOutFields = {},
): { readonly cdb: number[]; readonly list: Buffer } {
  const {
    key = keyOf('0'),
    serviceActionKey = keyOf('0'),
    type = 0,
    scope = 0,
    flags = 0,
  } = fields;
  const list = Buffer.concat([
    Buffer.from(key + serviceActionKey, 'hex'),
    Buffer.from([0, 0, 0, 0, flags, 0, 0, 0]),
    fields.behind ?? Buffer.alloc(0),
  ]);
  const length = [list.length >>> 24, (list.length >> 16) & 0xff, list.length >> 8, list.length];
  const cdb = [
    RESERVE_OUT,
    action,
    (scope << 4) | type,
    0,
    0,
    ...length.map((byte) => byte & 0xff),
    0,
  ];
  return { cdb, list };
}

export function reserveInCdb(action: number, allocationLength = 8192): number[] {
  return [RESERVE_IN, action, 0, 0, 0, 0, 0, allocationLength >> 8, allocationLength & 0xff, 0];
}

/** The keys of READ KEYS data. */
export function keysOf(data: Buffer): string[] {
  const keys: string[] = [];
  const end = 8 + data.readUInt32BE(4);
  for (let at = 8; at < end; at += 8) keys.push(data.subarray(at, at + 8).toString('hex'));
  return keys;
}

/** What READ RESERVATION data tells; null for none. */
export function reservationOf(data: Buffer): { key: string; type: number } | null {
  if (data.readUInt32BE(4) === 0) return null;
  return { key: data.subarray(8, 16).toString('hex'), type: data[21]! & 0x0f };
}
