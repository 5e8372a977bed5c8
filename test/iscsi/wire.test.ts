import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AsyncEvent,
  LoginStatus,
  PduOpcode,
  RejectReason,
  TaskManagementFunction,
  asyncEventName,
  loginStatusText,
  opcodeName,
  rejectReasonName,
  taskManagementFunctionName,
  taskManagementStatusText,
} from '../../src/iscsi/codes.js';
import * as request from '../../src/iscsi/request-wire.js';
import * as response from '../../src/iscsi/response-wire.js';
import {
  ahsLengthAt,
  dataSegmentLengthAt,
  isImmediateAt,
  opcodeAt,
  paddedLength,
  taskTagAt,
} from '../../src/iscsi/wire.js';
import { encodeLun } from '../../src/scsi/lun.js';
import { TWIN_PDUS, twinDecode, twinEncode, twinWrite } from '../support/iscsi/twin.js';
import type { TwinPdu } from '../support/iscsi/twin.js';

type Codec = (view: DataView, offset: number, pdu: object) => void;
type PduClass = new () => Record<string, unknown>;

const modules: Record<string, unknown> = { ...request, ...response };
const codecs = Object.entries(TWIN_PDUS)
  .map(([name, twin]) => ({
    name,
    twin,
    make: modules[`${name}Pdu`] as PduClass,
    // What we only read is written by the naive codec.
    encode: (modules[`encode${name}`] ??
      ((view: DataView, offset: number, pdu: Record<string, number>) =>
        twinWrite(view, offset, name, { ...pdu }))) as Codec,
    decode: modules[`decode${name}`] as Codec,
  }))
  // What we neither send nor take is in the table for the tests' peers alone.
  .filter(({ make }) => make !== undefined);

function arbitraryValues(
  twin: TwinPdu,
): fc.Arbitrary<Record<string, number | boolean | Uint8Array>> {
  const fields: Record<string, fc.Arbitrary<number | boolean | Uint8Array>> = {};
  for (const { name, bits } of twin.fields) {
    if (bits === 1) fields[name] = fc.boolean();
    else if (bits > 32) fields[name] = fc.uint8Array({ minLength: bits / 8, maxLength: bits / 8 });
    else fields[name] = fc.integer({ min: 0, max: 2 ** bits - 1 });
  }
  return fc.record(fields);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

describe.each(codecs)('the $name codec', ({ twin, make, encode, decode }) => {
  it('writes what the naive codec writes, over whatever was there, and nothing around it', () => {
    fc.assert(
      fc.property(arbitraryValues(twin), fc.integer({ min: 0, max: 9 }), (values, offset) => {
        const bytes = new Uint8Array(66).fill(0xee);
        encode(new DataView(bytes.buffer), offset, Object.assign(new make(), values));
        expect(hex(bytes.subarray(offset, offset + 48))).toBe(hex(twinEncode(twin, values)));
        expect(new Set(bytes.subarray(0, offset)).size).toBeLessThanOrEqual(1);
        expect(new Set(bytes.subarray(offset + 48))).toEqual(new Set([0xee]));
      }),
    );
  });

  it('reads any 48 bytes as the naive codec does, and forgets what it read before', () => {
    const pdu = new make();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 48, maxLength: 48 }), (bytes) => {
        decode(new DataView(bytes.buffer), 0, pdu);
        expect({ ...pdu }).toEqual(twinDecode(twin, bytes));
      }),
    );
  });

  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(arbitraryValues(twin), (values) => {
        const view = new DataView(new ArrayBuffer(48));
        encode(view, 0, Object.assign(new make(), values));
        const read = new make();
        decode(view, 0, read);
        expect({ ...read }).toEqual(values);
      }),
    );
  });
});

describe('golden headers', () => {
  it('has a 4 KiB READ(16) as ib_iser sends it', () => {
    const pdu = new request.ScsiCommandPdu();
    pdu.read = true;
    pdu.attribute = 1;
    pdu.lunHigh = encodeLun(1);
    pdu.initiatorTaskTag = 0x10000005;
    pdu.expectedDataTransferLength = 4096;
    pdu.cmdSn = 0x2a;
    pdu.expStatSn = 0x1d4;
    pdu.cdb.set([0x88, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8]);
    const bytes = new Uint8Array(48);
    request.encodeScsiCommand(new DataView(bytes.buffer), 0, pdu);
    expect(hex(bytes)).toBe(
      '01c10000' +
        '00000000' +
        '0001000000000000' +
        '10000005' +
        '00001000' +
        '0000002a' +
        '000001d4' +
        '88000000000000000100000000080000',
    );
  });

  it('has a CHECK CONDITION with 98 bytes of sense segment, as LIO sends it', () => {
    const bytes = Buffer.from(
      '21820002' +
        '00000062' +
        '0000000000000000' +
        '10000005' +
        '00000000' +
        '000001d4' +
        '0000002b' +
        '0000006a' +
        '00000000' +
        '00000000' +
        '00001000',
      'hex',
    );
    const pdu = new response.ScsiResponsePdu();
    response.decodeScsiResponse(new DataView(bytes.buffer, bytes.byteOffset), 0, pdu);
    expect(pdu).toMatchObject({
      underflow: true,
      overflow: false,
      status: 2,
      dataSegmentLength: 98,
      initiatorTaskTag: 0x10000005,
      statSn: 0x1d4,
      expCmdSn: 0x2b,
      maxCmdSn: 0x6a,
      residual: 4096,
    });
  });

  it('has a first login request: immediate, T, security to operational', () => {
    const pdu = new request.LoginRequestPdu();
    pdu.immediate = true;
    pdu.transit = true;
    pdu.nextStage = 1;
    pdu.isidHigh = 0x80123456;
    pdu.isidLow = 0x789a;
    pdu.cmdSn = 1;
    pdu.dataSegmentLength = 0x77;
    const bytes = new Uint8Array(48);
    request.encodeLoginRequest(new DataView(bytes.buffer), 0, pdu);
    expect(hex(bytes)).toBe(
      '43810000' +
        '00000077' +
        '80123456789a0000' +
        '00000000' +
        '00000000' +
        '00000001' +
        '00'.repeat(20),
    );
  });

  it('reads a refusal with its class and detail', () => {
    const bytes = Buffer.alloc(48);
    bytes[0] = 0x23;
    bytes.writeUInt16BE(0x0201, 36);
    const pdu = new response.LoginResponsePdu();
    response.decodeLoginResponse(new DataView(bytes.buffer, bytes.byteOffset), 0, pdu);
    expect([pdu.statusClass, pdu.statusDetail, pdu.transit]).toEqual([2, 1, false]);
  });

  it('reads the fields that all headers share in place', () => {
    const view = new DataView(new ArrayBuffer(50));
    view.setUint8(2, 0x43);
    view.setUint32(6, 0x02012345);
    view.setUint32(18, 0xfeedbeef);
    expect(opcodeAt(view, 2)).toBe(PduOpcode.loginRequest);
    expect(isImmediateAt(view, 2)).toBe(true);
    expect(ahsLengthAt(view, 2)).toBe(8);
    expect(dataSegmentLengthAt(view, 2)).toBe(0x12345);
    expect(taskTagAt(view, 2)).toBe(0xfeedbeef);
    expect([0, 1, 4, 97].map(paddedLength)).toEqual([0, 4, 4, 100]);
  });
});

describe('names', () => {
  it('has a name for every opcode, function, event, reason and status', () => {
    expect(Object.values(PduOpcode).map(opcodeName)).not.toContainEqual(
      expect.stringMatching(/^opcode/),
    );
    for (const code of Object.values(TaskManagementFunction)) {
      expect(taskManagementFunctionName(code)).not.toMatch(/^function 0x/);
    }
    for (const code of Object.values(AsyncEvent))
      expect(asyncEventName(code)).not.toMatch(/^event/);
    for (const code of Object.values(RejectReason)) {
      expect(rejectReasonName(code)).not.toMatch(/^reason/);
    }
    const texts = Object.values(LoginStatus).map((code) => loginStatusText(code >> 8, code & 0xff));
    expect(new Set(texts).size).toBe(texts.length);
  });

  it('describes what it does not know by its number, and a login status by its class', () => {
    expect(opcodeName(0x3e)).toBe('opcode 0x3e');
    expect(taskManagementStatusText(0x42)).toBe('response 0x42');
    expect(loginStatusText(2, 0x7f)).toBe('initiator error');
    expect(loginStatusText(9, 1)).toBe('status class 0x09');
  });
});
