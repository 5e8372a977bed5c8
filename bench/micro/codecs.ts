import {
  ScsiCommandPdu,
  decodeScsiCommand,
  encodeScsiCommand,
} from '../../src/iscsi/request-wire.js';
import {
  ScsiResponsePdu,
  decodeScsiResponse,
  encodeScsiResponse,
} from '../../src/iscsi/response-wire.js';
import {
  ISER_HEADER_BYTES,
  IserControlHeader,
  decodeControlHeader,
  encodeControlHeader,
} from '../../src/iscsi/iser-header.js';
import { RequestParser } from '../../src/nbd/request-parser.js';
import {
  NbdCommand,
  NbdErrno,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  decodeRequest,
  encodeSimpleReply,
} from '../../src/nbd/wire.js';
import type { RequestHeader } from '../../src/nbd/wire.js';
import { DecodedCdb, OperationCode, decodeCdb, encodeCdb16 } from '../../src/scsi/wire.js';
import type { Micro } from './loop.js';

const bytes = Buffer.alloc(4096);
const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const BATCH = 32;

export function codecBenchmarks(): readonly Micro[] {
  return [...nbd(), ...scsi(), ...iscsi(), ...iser()];
}

function nbd(): Micro[] {
  const header: RequestHeader = {
    magic: 0,
    flags: 0,
    command: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offsetHigh: 0,
    offsetLow: 0,
    lengthHigh: 0,
    lengthLow: 0,
  };
  const requests = Buffer.alloc(REQUEST_BYTES * BATCH);
  const requestsView = new DataView(requests.buffer, requests.byteOffset, requests.length);
  for (let at = 0; at < requests.length; at += REQUEST_BYTES) {
    requestsView.setUint32(at, REQUEST_MAGIC);
    requestsView.setUint16(at + 6, NbdCommand.READ);
    requestsView.setUint32(at + 24, 4096);
  }
  let lengths = 0;
  const parser = new RequestParser({
    requestArrived: ({ lengthLow }) => {
      lengths += lengthLow;
      return true;
    },
    payloadArrived: () => undefined,
  });
  return [
    {
      name: 'codec/NBD request, decode',
      run: () => {
        decodeRequest(requestsView, 0, header);
        return header.lengthLow;
      },
    },
    {
      name: 'codec/NBD requests from a stream, 32 in a piece',
      perCall: BATCH,
      run: () => parser.parse(requests, requestsView, 0, requests.length) + lengths,
    },
    {
      name: 'codec/NBD simple reply, encode',
      run: (index) => {
        encodeSimpleReply(view, 0, NbdErrno.OK, 7, index);
        return 0;
      },
    },
  ];
}

function scsi(): Micro[] {
  const cdb = new DataView(new ArrayBuffer(16));
  encodeCdb16(cdb, OperationCode.read16, 0, 123_456, 8);
  const decoded = new DecodedCdb();
  return [
    {
      name: 'codec/CDB, READ(16), encode',
      run: (index) => {
        encodeCdb16(cdb, OperationCode.read16, 0, index, 8);
        return 0;
      },
    },
    {
      name: 'codec/CDB, READ(16), decode',
      run: () => {
        decodeCdb(cdb, 0, decoded);
        return decoded.lba;
      },
    },
  ];
}

function iscsi(): Micro[] {
  const command = new ScsiCommandPdu();
  const response = new ScsiResponsePdu();
  encodeScsiResponse(view, 64, response);
  encodeScsiCommand(view, 128, command);
  return [
    {
      name: 'codec/iSCSI command BHS, encode',
      run: (index) => {
        command.cmdSn = index;
        encodeScsiCommand(view, 128, command);
        return 0;
      },
    },
    {
      name: 'codec/iSCSI command BHS, decode',
      run: () => {
        decodeScsiCommand(view, 128, command);
        return command.cmdSn;
      },
    },
    {
      name: 'codec/iSCSI response BHS, encode',
      run: (index) => {
        response.statSn = index;
        encodeScsiResponse(view, 64, response);
        return 0;
      },
    },
    {
      name: 'codec/iSCSI response BHS, decode',
      run: () => {
        decodeScsiResponse(view, 64, response);
        return response.statSn;
      },
    },
  ];
}

function iser(): Micro[] {
  const header = new IserControlHeader();
  header.isReadStagValid = true;
  const at = 1024;
  encodeControlHeader(view, at + ISER_HEADER_BYTES, header);
  return [
    {
      name: 'codec/iSER header, encode',
      run: (index) => {
        header.readStag = index;
        encodeControlHeader(view, at, header);
        return 0;
      },
    },
    {
      name: 'codec/iSER header, decode',
      run: () => {
        decodeControlHeader(view, at + ISER_HEADER_BYTES, header);
        return header.readStag;
      },
    },
  ];
}
