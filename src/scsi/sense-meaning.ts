/** What sense data means for a disk, apart from the result of its command. */
import { Asc, SenseKey } from './sense.js';
import type { Sense } from './sense.js';

/** The device does not support the command, or this form of the command. */
export function isUnknownCommand({ key, asc }: Sense): boolean {
  return (
    key === SenseKey.illegalRequest && (asc === Asc.invalidOpcode || asc === Asc.invalidFieldInCdb)
  );
}

/** A flush ended with this sense: the device could not write its cache to the medium. */
export function isWriteFailure({ key }: Sense): boolean {
  return key === SenseKey.mediumError || key === SenseKey.hardwareError;
}

/** The logical unit does not exist, or has no medium. */
export function isMissing({ key, asc }: Sense): boolean {
  if (key === SenseKey.illegalRequest) return asc === Asc.logicalUnitNotSupported;
  return key === SenseKey.notReady && asc >> 8 === Asc.mediumNotPresent >> 8;
}

/**
 * Unit attentions after which a volatile cache may be empty: SAM-5 6.2 lets a device report a power-on with any of
 * the three. A bus reset or a logical unit reset (29h/02h and 29h/03h), often from another initiator, keeps the
 * cache.
 */
export function mayEmptyCache(asc: number): boolean {
  return asc === Asc.powerOnOrReset || asc === Asc.powerOn || asc === Asc.deviceInternalReset;
}

/** Unit attentions after which earlier commands may have ended without an answer. */
export function mayEndCommands(asc: number): boolean {
  return asc >> 8 === Asc.powerOnOrReset >> 8 || asc === Asc.commandsClearedByOther;
}

/** Unit attentions after which the LUN may lead to another disk: resets, a new medium, new INQUIRY data or LUNs. */
export function mayBeAnother(asc: number): boolean {
  const code = asc >> 8;
  return (
    code === Asc.powerOnOrReset >> 8 ||
    code === Asc.notReadyToReadyChange >> 8 ||
    code === Asc.reportedLunsChanged >> 8
  );
}

/** Unit attentions after which the same disk may have another size or other mode parameters. */
export function mayHaveChanged(asc: number): boolean {
  return asc >> 8 === Asc.modeParametersChanged >> 8 && asc !== Asc.asymmetricAccessChanged;
}
