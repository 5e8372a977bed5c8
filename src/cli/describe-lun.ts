import type { SessionParameters } from '../initiator/session-parameters.js';
import type { InspectedUnit } from '../disk/inspect.js';
import { PROVISIONING_TYPES } from '../scsi/pages.js';
import type { Report } from './report.js';

const ALUA = ['none', 'implicit', 'explicit', 'implicit and explicit'] as const;

/** The report of `info`, in its order. The JSON output has these names. */
export function describeLun(unit: InspectedUnit, session: SessionParameters): Report {
  return {
    identity: {
      vendor: unit.vendor,
      product: unit.product,
      revision: unit.revision,
      serial: unit.serial,
      designators: unit.designators.map(
        ({ association, type, value }) => `${association} ${type} ${value}`,
      ),
      alua: ALUA[unit.tpgs] ?? 'none',
    },
    capacity: {
      sizeBytes: unit.sizeBytes,
      blocks: unit.sizeBlocks,
      blockBytes: unit.blockBytes,
      physicalBlockBytes: unit.physicalBlockBytes,
      protectionType: unit.protectionType,
      rotationRate: rotationOf(unit),
    },
    access: {
      readOnly: unit.readOnly,
      forceUnitAccess: unit.forceUnitAccess,
      writeCache: unit.writeCache ?? 'not reported',
    },
    limits: limitsOf(unit),
    provisioning: provisioningOf(unit),
    commands: {
      unmap: known(unit.commands.unmap),
      writeSame: known(unit.commands.writeSame16),
      preFetch: known(unit.commands.preFetch16),
      getLbaStatus: known(unit.commands.getLbaStatus),
    },
    session: {
      target: session.targetName,
      portal: session.portal,
      isid: session.isid,
      tsih: session.tsih,
      authentication: session.authMethod,
      commandWindow: session.commandWindow,
      immediateBytesMax: session.immediateBytesMax,
      transferBytesMax: session.transferBytesMax,
      keys: settledKeys(session),
    },
  };
}

/** The keys that have a value. A value that the target declared wins over a key's default. */
function settledKeys({ keys, declared }: SessionParameters): Report {
  const pairs = Object.entries({ ...keys, ...declared });
  return Object.fromEntries(pairs.filter(([, value]) => value !== ''));
}

function limitsOf({ limits, blockBytes, pathTransferBytesMax }: InspectedUnit): Report {
  if (limits === null) return { pathTransferBytesMax };
  const bytes = (blocks: number) => (blocks === 0 ? 'no limit' : blocks * blockBytes);
  const unmapNone = limits.unmapBlocksMax === 0;
  return {
    pathTransferBytesMax,
    transferBytesMax: bytes(limits.transferBlocksMax),
    transferBytesOptimal: bytes(limits.transferBlocksOptimal),
    unmapBytesMax: unmapNone
      ? 0
      : limits.unmapBlocksMax === 0xffff_ffff
        ? 'no limit'
        : limits.unmapBlocksMax * blockBytes,
    unmapDescriptorsMax:
      limits.unmapDescriptorsMax === 0xffff_ffff ? 'no limit' : limits.unmapDescriptorsMax,
    unmapGranularityBytes: limits.unmapGranularityBlocks * blockBytes,
    writeSameBytesMax:
      limits.writeSameBlocksMax < 0 ? 'no limit' : bytes(limits.writeSameBlocksMax),
    compareAndWriteBytesMax: limits.compareAndWriteBlocksMax * blockBytes,
  };
}

function provisioningOf({ provisioned, readZeroes, provisioning }: InspectedUnit): Report {
  return {
    thin: provisioned,
    unmappedReadsZeroes: readZeroes,
    type: PROVISIONING_TYPES[provisioning?.type ?? 0] ?? 'not reported',
    unmap: provisioning?.unmap ?? false,
    writeSameUnmap: provisioning?.writeSame16Unmap ?? false,
  };
}

function rotationOf({ characteristics }: InspectedUnit): string {
  const rate = characteristics?.rotationRate ?? 0;
  if (rate === 0) return 'not reported';
  return rate === 1 ? 'not rotating' : `${rate} rpm`;
}

function known(supported: boolean | null): boolean | string {
  return supported ?? 'not reported';
}
