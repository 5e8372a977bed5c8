/**
 * Parameter data of PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16), and iSCSI TransportIDs (SPC-4 7.6.4.6). An
 * encoder writes every byte of its structure. A decoder checks what it reads.
 *
 *   READ KEYS             0-3 PRgeneration, 4-7 additional length (n - 7); at 8: reservation keys, 8 bytes each
 *   READ RESERVATION      0-3 PRgeneration, 4-7 additional length (0 or 16);
 *                         8-15 reservation key, 16-20 -, 21 scope 7-4, type 3-0, 22-23 -
 *   REPORT CAPABILITIES   0-1 length (8); 2 CRH 4, SIP_C 3, ATP_C 2, PTPL_C 0; 3 TMV 7, allow commands 6-4, PTPL_A 0;
 *                         4 WR_EX_AR 7, EX_AC_RO 6, WR_EX_RO 5, EX_AC 3, WR_EX 1; 5 EX_AC_AR 0; 6-7 -
 *   READ FULL STATUS      0-3 PRgeneration, 4-7 additional length (n - 7); at 8 for each registration:
 *                         0-7 key, 8-11 -, 12 ALL_TG_PT 1, R_HOLDER 0; 13 scope 7-4, type 3-0; 14-17 -,
 *                         18-19 relative target port, 20-23 length of what follows, 24.. TransportID
 *
 *   PERSISTENT RESERVE OUT   0-7 reservation key, 8-15 service action reservation key, 16-19 -,
 *                            20 SPEC_I_PT 3, ALL_TG_PT 2, APTPL 0; 21-23 -; with SPEC_I_PT:
 *                            24-27 length of what follows, 28.. TransportIDs
 *
 *   TransportID           0 format 7-6 (01b: initiator port), protocol 3-0 (5: iSCSI); 1 -;
 *                         2-3 additional length (n - 3), a multiple of 4 and at least 20;
 *                         4.. NAME,i,0xISID with NULs behind it, at least one
 */

/** Reservation types (SPC-4 table 213). */
export const ReservationType = {
  writeExclusive: 0x1,
  exclusiveAccess: 0x3,
  writeExclusiveRegistrantsOnly: 0x5,
  exclusiveAccessRegistrantsOnly: 0x6,
  writeExclusiveAllRegistrants: 0x7,
  exclusiveAccessAllRegistrants: 0x8,
} as const;
export type ReservationType = (typeof ReservationType)[keyof typeof ReservationType];

/** The only scope that SPC-4 defines. */
export const LOGICAL_UNIT_SCOPE = 0;

/** Eight bytes as 16 hexadecimal digits. Only initiators know their meaning. */
export type ReservationKey = string;
export const NO_KEY: ReservationKey = '0000000000000000';

/** A SCSI initiator port of iSCSI (RFC 7143 4.4.3): its name and ISID. */
export interface InitiatorPort {
  readonly initiatorName: string;
  /** The ISID's upper 32 and lower 16 bits. */
  readonly isidHigh: number;
  readonly isidLow: number;
}

export function isReservationType(type: number): type is ReservationType {
  return TYPES.includes(type);
}

const TYPES: readonly number[] = Object.values(ReservationType);

// PERSISTENT RESERVE IN.

export function encodeReservationKeys(
  view: DataView,
  offset: number,
  generation: number,
  keys: readonly ReservationKey[],
): number {
  keys.forEach((key, index) => encodeKey(view, offset + 8 + 8 * index, key));
  return encodeHeader(view, offset, generation, 8 * keys.length);
}

/** `held` is null without a reservation. The key is {@link NO_KEY} when all registrants hold the reservation. */
export function encodeReservation(
  view: DataView,
  offset: number,
  generation: number,
  held: { readonly key: ReservationKey; readonly type: ReservationType } | null,
): number {
  if (held === null) return encodeHeader(view, offset, generation, 0);
  encodeKey(view, offset + 8, held.key);
  view.setUint32(offset + 16, 0);
  view.setUint32(offset + 20, ((LOGICAL_UNIT_SCOPE << 4) | held.type) << 16);
  return encodeHeader(view, offset, generation, 16);
}

export interface ReservationCapabilities {
  /** PTPL_C: the device can keep registrations through a power loss. PTPL_A: the device keeps them now. */
  readonly canPersist: boolean;
  readonly persists: boolean;
}

/** CRH, SIP_C and ATP_C are set. All six types are supported. ALLOW COMMANDS is 011b. */
export function encodeReservationCapabilities(
  view: DataView,
  offset: number,
  { canPersist, persists }: ReservationCapabilities,
): number {
  view.setUint16(offset, 8);
  view.setUint8(offset + 2, 0x1c | (canPersist ? 0x01 : 0));
  view.setUint8(offset + 3, 0xb0 | (persists ? 0x01 : 0));
  view.setUint32(offset + 4, 0xea01_0000);
  return 8;
}

/** One registration in READ FULL STATUS. */
export interface FullStatus {
  readonly key: ReservationKey;
  readonly port: InitiatorPort;
  readonly allTargetPorts: boolean;
  /** The type of the reservation that this registration holds, or null. */
  readonly holds: ReservationType | null;
  readonly relativeTargetPort: number;
}

export function encodeFullStatus(
  view: DataView,
  offset: number,
  generation: number,
  registrations: readonly FullStatus[],
): number {
  let at = offset + 8;
  for (const { key, port, allTargetPorts, holds, relativeTargetPort } of registrations) {
    encodeKey(view, at, key);
    view.setUint32(at + 8, 0);
    view.setUint32(at + 12, 0);
    view.setUint32(at + 16, relativeTargetPort);
    view.setUint8(at + 12, (allTargetPorts ? 2 : 0) | (holds === null ? 0 : 1));
    view.setUint8(at + 13, holds === null ? 0 : (LOGICAL_UNIT_SCOPE << 4) | holds);
    const length = encodeTransportId(view, at + 24, port);
    view.setUint32(at + 20, length);
    at += 24 + length;
  }
  return encodeHeader(view, offset, generation, at - offset - 8);
}

function encodeHeader(
  view: DataView,
  offset: number,
  generation: number,
  additionalLength: number,
): number {
  view.setUint32(offset, generation);
  view.setUint32(offset + 4, additionalLength);
  return 8 + additionalLength;
}

// PERSISTENT RESERVE OUT.

export const RESERVE_OUT_LIST_BYTES = 24;

/** The parameter list of PERSISTENT RESERVE OUT. */
export interface ReserveOutList {
  readonly key: ReservationKey;
  readonly serviceActionKey: ReservationKey;
  /** SPEC_I_PT, ALL_TG_PT and APTPL. */
  readonly specifiesPorts: boolean;
  readonly allTargetPorts: boolean;
  readonly persists: boolean;
}

/** The caller has checked that {@link RESERVE_OUT_LIST_BYTES} bytes exist. */
export function decodeReserveOutList(view: DataView, offset: number): ReserveOutList {
  const flags = view.getUint8(offset + 20);
  return {
    key: decodeKey(view, offset),
    serviceActionKey: decodeKey(view, offset + 8),
    specifiesPorts: (flags & 0x08) !== 0,
    allTargetPorts: (flags & 0x04) !== 0,
    persists: (flags & 0x01) !== 0,
  };
}

/**
 * The initiator ports in a list of `length` bytes with SPEC_I_PT. Null for a TransportID that is truncated, is not of
 * iSCSI, or names a device instead of a port: the target cannot know which port of the device to register.
 */
export function decodeSpecifiedPorts(
  view: DataView,
  offset: number,
  length: number,
): InitiatorPort[] | null {
  if (length < RESERVE_OUT_LIST_BYTES + 4) return null;
  const end = RESERVE_OUT_LIST_BYTES + 4 + view.getUint32(offset + RESERVE_OUT_LIST_BYTES);
  if (end > length) return null;
  const ports: InitiatorPort[] = [];
  for (let at = RESERVE_OUT_LIST_BYTES + 4; at < end;) {
    if (at + TRANSPORT_ID_BYTES_MIN > end) return null;
    const idBytes = 4 + view.getUint16(offset + at + 2);
    if (at + idBytes > end || idBytes < TRANSPORT_ID_BYTES_MIN || idBytes % 4 !== 0) return null;
    const port = decodeTransportId(view, offset + at, idBytes);
    if (port === null) return null;
    ports.push(port);
    at += idBytes;
  }
  return ports;
}

// TransportIDs.

const ISCSI_INITIATOR_PORT = 0x45;
const TRANSPORT_ID_BYTES_MIN = 24;
const SEPARATOR = ',i,0x';
const PORT_NAME = /^(?<name>[^\0]+),i,0x(?<isid>[0-9a-f]{1,12})$/i;

/** `iqn.2026-11.io.example:host,i,0x400001370001`, the port's name (RFC 7143 4.4.3). */
export function initiatorPortName({ initiatorName, isidHigh, isidLow }: InitiatorPort): string {
  const isid = isidHigh.toString(16).padStart(8, '0') + isidLow.toString(16).padStart(4, '0');
  return initiatorName + SEPARATOR + isid;
}

/** Null when `text` is not the name of an initiator port. */
export function parseInitiatorPortName(text: string): InitiatorPort | null {
  const groups = PORT_NAME.exec(text)?.groups;
  if (groups === undefined) return null;
  const { name = '', isid = '' } = groups;
  const digits = isid.padStart(12, '0');
  return {
    initiatorName: name,
    isidHigh: Number.parseInt(digits.slice(0, 8), 16),
    isidLow: Number.parseInt(digits.slice(8), 16),
  };
}

export function encodeTransportId(view: DataView, offset: number, port: InitiatorPort): number {
  const name = Buffer.from(initiatorPortName(port), 'utf8');
  const length = Math.max(TRANSPORT_ID_BYTES_MIN, (4 + name.length + 1 + 3) & ~3);
  view.setUint32(offset, (ISCSI_INITIATOR_PORT << 24) | (length - 4));
  for (let index = 4; index < length; index++) {
    view.setUint8(offset + index, name[index - 4] ?? 0);
  }
  return length;
}

function decodeTransportId(view: DataView, offset: number, length: number): InitiatorPort | null {
  if (view.getUint8(offset) !== ISCSI_INITIATOR_PORT) return null;
  const bytes = Buffer.from(view.buffer, view.byteOffset + offset + 4, length - 4);
  const end = bytes.indexOf(0);
  return end < 0 ? null : parseInitiatorPortName(bytes.toString('utf8', 0, end));
}

function encodeKey(view: DataView, offset: number, key: ReservationKey): void {
  view.setUint32(offset, Number.parseInt(key.slice(0, 8), 16));
  view.setUint32(offset + 4, Number.parseInt(key.slice(8), 16));
}

function decodeKey(view: DataView, offset: number): ReservationKey {
  const half = (at: number) => view.getUint32(at).toString(16).padStart(8, '0');
  return half(offset) + half(offset + 4);
}
