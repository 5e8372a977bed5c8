import { Slab } from '../../common/slab.js';
import { Asc, DESCRIPTOR_SENSE_BYTES_MAX } from '../../scsi/sense.js';
import {
  Association,
  CodeSet,
  DesignatorType,
  DeviceType,
  ProvisioningStatus,
  Qualifier,
  VpdPage,
  encodeBlockCharacteristics,
  encodeBlockLimits,
  encodeBlockProvisioning,
  encodeDesignators,
  encodeExtendedInquiry,
  encodeInquiry,
  encodeLbaStatus,
  encodeLbaStatusHeader,
  encodeReadCapacity10,
  encodeReadCapacity16,
  encodeSupportedPages,
  encodeUnitSerialNumber,
} from '../../scsi/wire.js';
import type { DecodedCdb } from '../../scsi/wire.js';
import { TARGET_PORT } from './disk-identity.js';
import type { DiskIdentity } from './disk-identity.js';
import {
  COMPARE_AND_WRITE_BLOCKS_MAX,
  PARAMETER_DATA_BYTES_MAX,
  UNIT_TRANSFER_BYTES_MAX,
  TRANSFER_BYTES_OPTIMAL,
  UNMAP_BYTES_MAX,
  UNMAP_DESCRIPTORS_MAX,
  WRITE_SAME_BYTES_MAX,
} from './limits.js';
import type { Store } from '../../store/store.js';

/** iSCSI, SPC-4 and SBC-3 (SPC-4 annex C). */
const VERSION_DESCRIPTORS = [0x0960, 0x0460, 0x04c0];
const VERSION_SPC4 = 6;
const IMPLICIT_ALUA = 1;
const RELEVANT_PAGES = [
  VpdPage.supportedPages,
  VpdPage.unitSerialNumber,
  VpdPage.deviceIdentification,
  VpdPage.extendedInquiry,
  VpdPage.blockLimits,
  VpdPage.blockDeviceCharacteristics,
  VpdPage.logicalBlockProvisioning,
];
const LBA_STATUS_DESCRIPTORS_MAX = (PARAMETER_DATA_BYTES_MAX - 8) >> 4;

/** The vendor, product and revision of the target's disks. */
export const INQUIRY_TEXT = {
  vendor: 'ISERNBD',
  product: 'VIRTUAL-DISK',
  revision: '0001',
} as const;

/**
 * A disk's parameter data: the answers about the unit itself. Each method builds its answer in {@link data} and
 * returns the length, or the negated ASC (`-0x2400`) of an ILLEGAL REQUEST.
 */
export class DiskReports {
  /** The next report overwrites it. */
  readonly data = new Slab(PARAMETER_DATA_BYTES_MAX);
  readonly #store: Store;
  readonly #identity: DiskIdentity;
  readonly #status = { lba: 0, blocks: 0, status: 0 };

  constructor(store: Store, identity: DiskIdentity) {
    this.#store = store;
    this.#identity = identity;
  }

  inquiry(cdb: DecodedCdb): number {
    const view = this.#cleared();
    if (cdb.evpd) return this.#vpdPage(view, cdb.pageCode);
    if (cdb.pageCode !== 0) return -Asc.invalidFieldInCdb;
    return encodeInquiry(view, 0, {
      qualifier: Qualifier.connected,
      deviceType: DeviceType.block,
      removable: false,
      version: VERSION_SPC4,
      tpgs: IMPLICIT_ALUA,
      thirdPartyCopy: false,
      protect: false,
      multiPort: false,
      commandQueuing: true,
      ...INQUIRY_TEXT,
      versionDescriptors: VERSION_DESCRIPTORS,
    });
  }

  readCapacity10(cdb: DecodedCdb): number {
    if (cdb.lba !== 0 || cdb.partialMedium) return -Asc.invalidFieldInCdb;
    return encodeReadCapacity10(this.#cleared(), 0, this.#blockCount - 1, this.#store.blockBytes);
  }

  readCapacity16(): number {
    const { blockBytes, canPunch } = this.#store;
    return encodeReadCapacity16(this.#cleared(), 0, {
      lastLba: this.#blockCount - 1,
      blockBytes,
      protectionType: 0,
      // Both stores have pages of 4 KiB, and partitions should be aligned to them.
      physicalBlockExponent: blockBytes === 512 ? 3 : 0,
      lowestAlignedLba: 0,
      provisioned: canPunch,
      readZeroes: canPunch,
    });
  }

  /** One group with one port. The group is always active/optimized (SPC-4 6.37). */
  targetPortGroups(extended: boolean): number {
    const view = this.#cleared();
    const at = extended ? 8 : 4;
    if (extended) view.setUint8(4, 0x10);
    // Preferred, and active/optimized. No other state is supported.
    view.setUint16(at, 0x8001);
    view.setUint16(at + 2, TARGET_PORT);
    view.setUint8(at + 7, 1);
    view.setUint16(at + 10, TARGET_PORT);
    view.setUint32(0, at + 12 - 4);
    return at + 12;
  }

  /** The allocation states from `lba` on, as many runs as fit into `lengthMaxBytes`. */
  lbaStatus(lba: number, lengthMaxBytes: number): number {
    const store = this.#store;
    const { blockBytes } = store;
    const view = this.#cleared();
    const room = Math.max(1, Math.min((lengthMaxBytes - 8) >> 4, LBA_STATUS_DESCRIPTORS_MAX));
    let offset = lba * blockBytes;
    let count = 0;
    while (count < room && offset < store.sizeBytes) {
      const left = Math.min(store.sizeBytes - offset, 0xffff_ffff * blockBytes);
      const run = store.allocationRunBytes(offset, left);
      this.#status.lba = offset / blockBytes;
      this.#status.blocks = run / blockBytes;
      this.#status.status = store.isAllocated(offset)
        ? ProvisioningStatus.mapped
        : ProvisioningStatus.deallocated;
      encodeLbaStatus(view, 0, count, this.#status);
      offset += run;
      count += 1;
    }
    return encodeLbaStatusHeader(view, 0, count);
  }

  #vpdPage(view: DataView, pageCode: number): number {
    const { blockBytes, canPunch, punchGranularityBytes } = this.#store;
    switch (pageCode) {
      case VpdPage.supportedPages:
        return encodeSupportedPages(view, 0, RELEVANT_PAGES);
      case VpdPage.unitSerialNumber:
        return encodeUnitSerialNumber(view, 0, this.#identity.serial);
      case VpdPage.deviceIdentification:
        return encodeDesignators(view, 0, designatorsOf(this.#identity));
      case VpdPage.extendedInquiry:
        return encodeExtendedInquiry(view, 0, {
          headOfQueue: false,
          ordered: true,
          simple: true,
          volatileCache: true,
          senseBytesMax: DESCRIPTOR_SENSE_BYTES_MAX,
        });
      case VpdPage.blockLimits:
        return encodeBlockLimits(view, 0, {
          writeSameNonZero: true,
          compareAndWriteBlocksMax: COMPARE_AND_WRITE_BLOCKS_MAX,
          transferGranularityBlocks: Math.max(1, 4096 / blockBytes),
          transferBlocksMax: UNIT_TRANSFER_BYTES_MAX / blockBytes,
          transferBlocksOptimal: TRANSFER_BYTES_OPTIMAL / blockBytes,
          prefetchBlocksMax: 0,
          unmapBlocksMax: canPunch ? UNMAP_BYTES_MAX / blockBytes : 0,
          unmapDescriptorsMax: canPunch ? UNMAP_DESCRIPTORS_MAX : 0,
          unmapGranularityBlocks: canPunch ? punchGranularityBytes / blockBytes : 0,
          unmapAlignmentBlocks: canPunch ? 0 : null,
          writeSameBlocksMax: WRITE_SAME_BYTES_MAX / blockBytes,
        });
      case VpdPage.blockDeviceCharacteristics:
        return encodeBlockCharacteristics(view, 0, { rotationRate: 1, nominalFormFactor: 0 });
      case VpdPage.logicalBlockProvisioning:
        return encodeBlockProvisioning(view, 0, {
          thresholdExponent: 0,
          unmap: canPunch,
          writeSame16Unmap: canPunch,
          writeSame10Unmap: canPunch,
          readZeroes: canPunch ? 1 : 0,
          anchor: false,
          type: canPunch ? 2 : 0,
        });
      default:
        return -Asc.invalidFieldInCdb;
    }
  }

  get #blockCount(): number {
    return this.#store.sizeBytes / this.#store.blockBytes;
  }

  #cleared(): DataView {
    this.data.bytes.fill(0);
    return this.data.view;
  }
}

function designatorsOf({ naa, serial, targetName }: DiskIdentity) {
  const ascii = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));
  const utf8 = (text: string) => Uint8Array.from(Buffer.from(padded(text), 'utf8'));
  return [
    {
      association: Association.logicalUnit,
      type: DesignatorType.naa,
      codeSet: CodeSet.binary,
      bytes: naa,
    },
    {
      association: Association.logicalUnit,
      type: DesignatorType.t10VendorId,
      codeSet: CodeSet.ascii,
      bytes: ascii(INQUIRY_TEXT.vendor.padEnd(8) + serial),
    },
    {
      association: Association.targetPort,
      type: DesignatorType.relativeTargetPort,
      codeSet: CodeSet.binary,
      bytes: Uint8Array.of(0, 0, 0, TARGET_PORT),
    },
    {
      association: Association.targetPort,
      type: DesignatorType.targetPortGroup,
      codeSet: CodeSet.binary,
      bytes: Uint8Array.of(0, 0, 0, TARGET_PORT),
    },
    {
      association: Association.targetPort,
      type: DesignatorType.scsiNameString,
      codeSet: CodeSet.utf8,
      bytes: utf8(`${targetName},t,0x0001`),
    },
  ];
}

/** SPC-4 7.8.6.11: a SCSI name string ends with one to four NULs, its length a multiple of four. */
function padded(text: string): string {
  const { length } = Buffer.from(text, 'utf8');
  return text + '\0'.repeat(4 - (length % 4));
}
