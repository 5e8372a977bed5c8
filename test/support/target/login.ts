import { encodeText, decodeText } from '../../../src/iscsi/text.js';
import { LoginRequestPdu, encodeLoginRequest } from '../../../src/iscsi/request-wire.js';
import { LoginResponder } from '../../../src/target/session/login.js';
import type { TargetLoginOutcome } from '../../../src/target/session/login.js';
import type { LoginPolicy } from '../../../src/target/session/login-policy.js';

export const LAB = 'iqn.2026-11.io.example:lab';

export const openPolicy: LoginPolicy = {
  targetName: LAB,
  portalGroupTag: 1,
  chap: null,
  discoveryAuth: false,
  redirect: null,
};

let counter = 0;
/** Bytes that differ from call to call, and are the same in each run. */
export function countingBytes(length: number): Uint8Array {
  counter += 1;
  return Uint8Array.from({ length }, (_, index) => (counter * 31 + index * 7) & 0xff);
}

export interface Answer {
  readonly outcome: TargetLoginOutcome;
  readonly keys: Map<string, string>;
  readonly status: number;
}

/** A login responder and a request that it is given again and again with changes. */
export class LoginBed {
  readonly responder: LoginResponder;
  readonly request = new LoginRequestPdu();

  constructor(policy: LoginPolicy = openPolicy, sessions: readonly number[] = []) {
    this.responder = new LoginResponder(policy, countingBytes, (tsih) => sessions.includes(tsih));
    this.request.immediate = true;
    this.request.isidHigh = 0x0000_1234;
    this.request.isidLow = 5;
    this.request.cmdSn = 100;
    this.request.expStatSn = 900;
    this.request.initiatorTaskTag = 3;
  }

  send(fields: Partial<LoginRequestPdu>, pairs: Record<string, string> = {}): Answer {
    const list = Object.entries(pairs).map(([key, value]) => ({ key, value }));
    return this.sendBytes(fields, encodeText(list, 8192));
  }

  sendBytes(fields: Partial<LoginRequestPdu>, data: Uint8Array): Answer {
    Object.assign(this.request, { transit: false, continues: false, nextStage: 0 }, fields);
    this.request.dataSegmentLength = data.length;
    const view = new DataView(new ArrayBuffer(48 + data.length));
    encodeLoginRequest(view, 0, this.request);
    new Uint8Array(view.buffer).set(data, 48);
    const outcome = this.responder.receive(view, 0, 48, data.length);
    const { response, text } = this.responder;
    const keys = new Map(decodeText(text).map(({ key, value }) => [key, value]));
    return { outcome, keys, status: (response.statusClass << 8) | response.statusDetail };
  }
}

/** The text of an ordinary first request. */
export const WHO = {
  InitiatorName: 'iqn.2026-11.io.example:initiator',
  SessionType: 'Normal',
  TargetName: LAB,
};

/** What open-iscsi offers in the operational stage. */
export const OFFER = {
  RDMAExtensions: 'Yes',
  HeaderDigest: 'None',
  DataDigest: 'None',
  MaxConnections: '1',
  InitialR2T: 'No',
  ImmediateData: 'Yes',
  MaxBurstLength: '16776192',
  FirstBurstLength: '262144',
  DefaultTime2Wait: '2',
  DefaultTime2Retain: '0',
  MaxOutstandingR2T: '1',
  DataPDUInOrder: 'Yes',
  DataSequenceInOrder: 'Yes',
  ErrorRecoveryLevel: '0',
  InitiatorRecvDataSegmentLength: '262144',
  TargetRecvDataSegmentLength: '8192',
};
