/**
 * A slow and obvious codec for iSCSI headers: each PDU is a table of fields, and each field a run of bits. The tests
 * hold it against the fast codec, and let it write what the product only reads, or refuses.
 */

/** `bits` from bit `bit` (0 is the most significant one) of byte `byte`. */
export interface TwinField {
  readonly name: string;
  readonly byte: number;
  readonly bit: number;
  readonly bits: number;
}

export interface TwinPdu {
  readonly opcode: number;
  /** Bits that are always one. */
  readonly ones: readonly { byte: number; bit: number }[];
  readonly fields: readonly TwinField[];
}

type Values = Record<string, number | boolean | Uint8Array>;

function field(name: string, byte: number, bits = 32, bit = 0): TwinField {
  return { name, byte, bit, bits };
}

const FINAL_ONE = [{ byte: 1, bit: 0 }];
const COMMON = [field('dataSegmentLength', 5, 24), field('initiatorTaskTag', 16)];
const REQUEST = [
  field('immediate', 0, 1, 1),
  ...COMMON,
  field('cmdSn', 24),
  field('expStatSn', 28),
];
const RESPONSE = [...COMMON, field('statSn', 24), field('expCmdSn', 28), field('maxCmdSn', 32)];
const LUN = [field('lunHigh', 8), field('lunLow', 12)];
const LOGIN = [
  field('transit', 1, 1),
  field('continues', 1, 1, 1),
  field('currentStage', 1, 2, 4),
  field('nextStage', 1, 2, 6),
  field('versionMax', 2, 8),
  field('isidHigh', 8),
  field('isidLow', 12, 16),
  field('tsih', 14, 16),
];
const TEXT = [field('final', 1, 1), field('continues', 1, 1, 1), ...LUN];

/** RFC 7143 section 11, by the names of the classes. */
export const TWIN_PDUS: Readonly<Record<string, TwinPdu>> = {
  ScsiCommand: {
    opcode: 0x01,
    ones: [],
    fields: [
      ...REQUEST,
      field('final', 1, 1),
      field('read', 1, 1, 1),
      field('write', 1, 1, 2),
      field('attribute', 1, 3, 5),
      ...LUN,
      field('expectedDataTransferLength', 20),
      field('cdb', 32, 128),
    ],
  },
  TaskManagementRequest: {
    opcode: 0x02,
    ones: FINAL_ONE,
    fields: [
      ...REQUEST,
      field('function', 1, 7, 1),
      ...LUN,
      field('referencedTaskTag', 20),
      field('refCmdSn', 32),
      field('expDataSn', 36),
    ],
  },
  LoginRequest: {
    opcode: 0x03,
    ones: [],
    fields: [...REQUEST, ...LOGIN, field('versionMin', 3, 8), field('cid', 20, 16)],
  },
  TextRequest: {
    opcode: 0x04,
    ones: [],
    fields: [...REQUEST, ...TEXT, field('targetTransferTag', 20)],
  },
  DataOut: {
    opcode: 0x05,
    ones: [],
    fields: [
      ...COMMON,
      field('final', 1, 1),
      ...LUN,
      field('targetTransferTag', 20),
      field('expStatSn', 28),
      field('dataSn', 36),
      field('bufferOffset', 40),
    ],
  },
  LogoutRequest: {
    opcode: 0x06,
    ones: FINAL_ONE,
    fields: [...REQUEST, field('reason', 1, 7, 1), field('cid', 20, 16)],
  },
  SnackRequest: {
    opcode: 0x10,
    ones: FINAL_ONE,
    fields: [
      field('type', 1, 4, 4),
      ...LUN,
      field('initiatorTaskTag', 16),
      field('targetTransferTag', 20),
      field('expStatSn', 28),
      field('begRun', 40),
      field('runLength', 44),
    ],
  },
  NopOut: {
    opcode: 0x00,
    ones: FINAL_ONE,
    fields: [...REQUEST, ...LUN, field('targetTransferTag', 20)],
  },
  ScsiResponse: {
    opcode: 0x21,
    ones: FINAL_ONE,
    fields: [
      ...RESPONSE,
      field('bidirectionalOverflow', 1, 1, 3),
      field('bidirectionalUnderflow', 1, 1, 4),
      field('overflow', 1, 1, 5),
      field('underflow', 1, 1, 6),
      field('response', 2, 8),
      field('status', 3, 8),
      field('snackTag', 20),
      field('expDataSn', 36),
      field('bidirectionalResidual', 40),
      field('residual', 44),
    ],
  },
  TaskManagementResponse: {
    opcode: 0x22,
    ones: FINAL_ONE,
    fields: [...RESPONSE, field('response', 2, 8)],
  },
  LoginResponse: {
    opcode: 0x23,
    ones: [],
    fields: [
      ...RESPONSE,
      ...LOGIN,
      field('versionActive', 3, 8),
      field('statusClass', 36, 8),
      field('statusDetail', 37, 8),
    ],
  },
  TextResponse: {
    opcode: 0x24,
    ones: [],
    fields: [...RESPONSE, ...TEXT, field('targetTransferTag', 20)],
  },
  LogoutResponse: {
    opcode: 0x26,
    ones: FINAL_ONE,
    fields: [
      ...RESPONSE,
      field('response', 2, 8),
      field('time2Wait', 40, 16),
      field('time2Retain', 42, 16),
    ],
  },
  AsyncMessage: {
    opcode: 0x32,
    ones: FINAL_ONE,
    fields: [
      ...RESPONSE,
      ...LUN,
      field('event', 36, 8),
      field('vendorCode', 37, 8),
      field('parameter1', 38, 16),
      field('parameter2', 40, 16),
      field('parameter3', 42, 16),
    ],
  },
  Reject: {
    opcode: 0x3f,
    ones: FINAL_ONE,
    fields: [...RESPONSE, field('reason', 2, 8), field('dataSn', 36)],
  },
  NopIn: {
    opcode: 0x20,
    ones: FINAL_ONE,
    fields: [...RESPONSE, ...LUN, field('targetTransferTag', 20)],
  },
};

/** The 48 bytes, bit by bit. */
export function twinEncode(pdu: TwinPdu, values: Values): Uint8Array {
  const bits = new Array<string>(48 * 8).fill('0');
  const put = (at: number, text: string): void => {
    for (const [index, bit] of [...text].entries()) bits[at + index] = bit;
  };
  put(2, pdu.opcode.toString(2).padStart(6, '0'));
  for (const { byte, bit } of pdu.ones) put(byte * 8 + bit, '1');
  for (const { name, byte, bit, bits: count } of pdu.fields) {
    const value = values[name]!;
    const text =
      value instanceof Uint8Array
        ? [...value].map((octet) => octet.toString(2).padStart(8, '0')).join('')
        : Number(value).toString(2).padStart(count, '0');
    put(byte * 8 + bit, text);
  }
  return Uint8Array.from({ length: 48 }, (_, index) =>
    parseInt(bits.slice(index * 8, index * 8 + 8).join(''), 2),
  );
}

/** Writes PDU `name` of the table; a field that `values` leaves out is zero. */
export function twinWrite(view: DataView, offset: number, name: string, values: Values): void {
  const pdu = TWIN_PDUS[name]!;
  const zeros = Object.fromEntries(pdu.fields.map((each) => [each.name, 0]));
  const bytes = twinEncode(pdu, { ...zeros, ...values });
  bytes.forEach((byte, index) => view.setUint8(offset + index, byte));
}

/** The fields, bit by bit; one-bit fields are booleans. */
export function twinDecode(pdu: TwinPdu, bytes: Uint8Array): Values {
  const text = [...bytes].map((octet) => octet.toString(2).padStart(8, '0')).join('');
  const values: Values = {};
  for (const { name, byte, bit, bits } of pdu.fields) {
    const run = text.slice(byte * 8 + bit, byte * 8 + bit + bits);
    if (bits === 1) values[name] = run === '1';
    else values[name] = bits > 32 ? bytes.slice(byte, byte + bits / 8) : parseInt(run, 2);
  }
  return values;
}
