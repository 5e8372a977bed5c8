/** What sense data means for a disk beside the end of the command that it came with. */
import { Asc, SenseKey } from './sense.js';
import type { Sense } from './sense.js';

/** The device does not know the command, or this form of it. */
export function isUnknownCommand({ key, asc }: Sense): boolean {
  return (
    key === SenseKey.illegalRequest && (asc === Asc.invalidOpcode || asc === Asc.invalidFieldInCdb)
  );
}

/** The device could not write what it had in its cache, as far as a flush is concerned. */
export function isWriteFailure({ key }: Sense): boolean {
  return key === SenseKey.mediumError || key === SenseKey.hardwareError;
}

/** There is no logical unit, or no medium in it. */
export function isMissing({ key, asc }: Sense): boolean {
  if (key === SenseKey.illegalRequest) return asc === Asc.logicalUnitNotSupported;
  return key === SenseKey.notReady && asc >> 8 === Asc.mediumNotPresent >> 8;
}

/**
 * Unit attentions after which a volatile cache may be empty: SAM-5 6.2 lets a device tell of a power-on by any of the
 * three. A logical unit reset or a bus reset (29h/02h and 29h/03h), often another initiator's, keeps the cache.
 */
export function mayEmptyCache(asc: number): boolean {
  return asc === Asc.powerOnOrReset || asc === Asc.powerOn || asc === Asc.deviceInternalReset;
}

/** Unit attentions after which commands that were sent before may have ended without an answer. */
export function mayEndCommands(asc: number): boolean {
  return asc >> 8 === Asc.powerOnOrReset >> 8 || asc === Asc.commandsClearedByOther;
}

/** Unit attentions after which another disk may be behind the same LUN: resets, a new medium, new INQUIRY data or LUNs. */
export function mayBeAnother(asc: number): boolean {
  const code = asc >> 8;
  return (
    code === Asc.powerOnOrReset >> 8 ||
    code === Asc.notReadyToReadyChange >> 8 ||
    code === Asc.reportedLunsChanged >> 8
  );
}

/** Unit attentions after which the same disk may have another size, or other modes. */
export function mayHaveChanged(asc: number): boolean {
  return asc >> 8 === Asc.modeParametersChanged >> 8 && asc !== Asc.asymmetricAccessChanged;
}
