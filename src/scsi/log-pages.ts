/**
 * Log pages (SPC-4 7.3), as LOG SENSE returns them.
 *
 *   Log page        0 DS 7, SPF 6, page code 5-0; 1 subpage code; 2-3 page length (n - 3)
 *   00 supported    page codes; with subpage FF: page code and subpage code of each
 *   0D temperature  parameters: 0-1 code (0 temperature, 1 reference), 2 control, 3 length (2), 4 -, 5 degrees Celsius
 */

export const LogPage = { supported: 0x00, temperature: 0x0d } as const;

/** The subpage code of the list of pages and subpages, in {@link LogPage.supported}. */
export const ALL_SUBPAGES = 0xff;

/** SPC-4 7.3.18: the device reports no temperature. */
const NO_TEMPERATURE = 0xff;
const TEMPERATURE_PARAMETER_BYTES = 6;
/** FORMAT AND LINKING 11b: a binary list. */
const BINARY_LIST = 0x03;

export function encodeSupportedLogPages(
  view: DataView,
  offset: number,
  pages: readonly number[],
): number {
  pages.forEach((code, index) => view.setUint8(offset + 4 + index, code));
  return encodeLogPageHeader(view, offset, LogPage.supported, 0, pages.length);
}

/** `subpages` are pairs of page code and subpage code. */
export function encodeSupportedLogSubpages(
  view: DataView,
  offset: number,
  subpages: readonly (readonly [number, number])[],
): number {
  subpages.forEach(([code, subpage], index) =>
    view.setUint16(offset + 4 + 2 * index, (code << 8) | subpage),
  );
  const length = 2 * subpages.length;
  return encodeLogPageHeader(view, offset, LogPage.supported, ALL_SUBPAGES, length);
}

/** The temperature page of a device without a thermometer, from parameter `first` (0 or 1) on. */
export function encodeNoTemperature(view: DataView, offset: number, first: number): number {
  let at = 4;
  for (let code = first; code <= 1; code++) {
    view.setUint16(offset + at, code);
    view.setUint16(offset + at + 2, (BINARY_LIST << 8) | (TEMPERATURE_PARAMETER_BYTES - 4));
    view.setUint16(offset + at + 4, NO_TEMPERATURE);
    at += TEMPERATURE_PARAMETER_BYTES;
  }
  return encodeLogPageHeader(view, offset, LogPage.temperature, 0, at - 4);
}

function encodeLogPageHeader(
  view: DataView,
  offset: number,
  pageCode: number,
  subpageCode: number,
  pageLength: number,
): number {
  view.setUint8(offset, pageCode | (subpageCode === 0 ? 0 : 0x40));
  view.setUint8(offset + 1, subpageCode);
  view.setUint16(offset + 2, pageLength);
  return 4 + pageLength;
}
