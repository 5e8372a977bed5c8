import { Slab } from '../../common/slab.js';
import { Asc } from '../../scsi/sense.js';
import { ModePage, decodeModeSelect, encodeModeParameters } from '../../scsi/wire.js';
import type { DecodedCdb, ModeSelectList, ModeSenseForm } from '../../scsi/wire.js';
import { PARAMETER_DATA_BYTES_MAX } from './limits.js';
import type { Store } from '../../store/store.js';

/** Page code 3Fh with this subpage code requests all pages and subpages. */
const ALL_SUBPAGES = 0xff;
/** The PS bit: valid in MODE SENSE, reserved in MODE SELECT. */
const PARAMETERS_SAVEABLE = 0x80;

/**
 * A disk's mode parameters, which cannot be changed. MODE SENSE returns them, and MODE SELECT accepts only the
 * present values.
 */
export class ModeReports {
  readonly #store: Store;
  readonly #data: Slab;
  /** The present values, for the comparison with a MODE SELECT. */
  readonly #current = new Slab(PARAMETER_DATA_BYTES_MAX);

  /** MODE SENSE builds its answer in `data`. */
  constructor(store: Store, data: Slab) {
    this.#store = store;
    this.#data = data;
  }

  /** Returns the length, or the negated ASC of an ILLEGAL REQUEST. */
  modeSense(cdb: DecodedCdb, form: ModeSenseForm): number {
    const { pageCode, subpageCode, pageControl } = cdb;
    const isSaved = pageControl === 3;
    if (isSaved) return -Asc.savingParametersNotSupported;
    const isAll = pageCode === ModePage.all;
    const isKnown = isAll || pageCode === ModePage.caching || pageCode === ModePage.control;
    const wantsSubpages = subpageCode === ALL_SUBPAGES && isAll;
    if (!isKnown || (subpageCode !== 0 && !wantsSubpages)) return -Asc.invalidFieldInCdb;
    // No parameter can be changed, so the mask of changeable bits is zero.
    const isMask = pageControl === 1;
    this.#data.bytes.fill(0);
    return this.#encode(this.#data, form, pageCode, isMask);
  }

  /** The ASC for an invalid MODE SELECT list, or {@link Asc.none}. */
  modeSelect(slab: Slab, offset: number, length: number, form: ModeSenseForm): number {
    if (length === 0) return Asc.none;
    const list = decodeModeSelect(slab.view, offset, length, form);
    if (list === 'cut') return Asc.parameterListLengthError;
    if (list === 'odd' || !this.#isCurrentBlock(list)) return Asc.invalidFieldInParameterList;
    const isCurrent = list.pages.every(({ code, subpage, start, length: pageBytes }) => {
      if (subpage !== 0 || (code !== ModePage.caching && code !== ModePage.control)) return false;
      return this.#isCurrentPage(code, slab.bytes.subarray(start, start + pageBytes));
    });
    return isCurrent ? Asc.none : Asc.invalidFieldInParameterList;
  }

  #isCurrentBlock({ block }: ModeSelectList): boolean {
    if (block === null) return true;
    const { sizeBytes, blockBytes } = this.#store;
    const isSize = block.blocks <= 0 || block.blocks === sizeBytes / blockBytes;
    return isSize && (block.blockBytes === 0 || block.blockBytes === blockBytes);
  }

  #isCurrentPage(code: number, wanted: Buffer): boolean {
    const form = 6;
    const headerBytes = 4;
    const length = this.#encode(this.#current, form, code, false);
    const current = this.#current.bytes.subarray(headerBytes, length);
    if (wanted.length !== current.length) return false;
    return current.every((byte, index) => {
      const given = wanted[index] ?? 0;
      return (index === 0 ? given & ~PARAMETERS_SAVEABLE : given) === byte;
    });
  }

  #encode(slab: Slab, form: ModeSenseForm, pageCode: number, isMask: boolean): number {
    const isAll = pageCode === ModePage.all;
    return encodeModeParameters(slab.view, 0, form, {
      writeProtected: this.#store.readOnly,
      forceUnitAccess: true,
      caching:
        isAll || pageCode === ModePage.caching ? { writeCache: !isMask, readCache: true } : null,
      control:
        isAll || pageCode === ModePage.control
          ? {
              descriptorSense: false,
              softwareWriteProtect: false,
              taskAbortedStatus: !isMask,
            }
          : null,
    });
  }
}
