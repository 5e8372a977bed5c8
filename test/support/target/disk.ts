import { expect } from 'vitest';
import { Slab } from '../../../src/common/slab.js';
import { SenseKey } from '../../../src/scsi/sense.js';
import { ScsiStatus } from '../../../src/scsi/wire.js';
import { DiskCommand } from '../../../src/target/unit/disk-command.js';
import type { LogicalUnits } from '../../../src/target/unit/logical-units.js';
import type { Nexus } from '../../../src/target/unit/nexus.js';

export interface Outcome {
  readonly status: number;
  readonly senseKey: number;
  readonly asc: number;
  readonly information: number;
  readonly data: Buffer;
}

export interface Execution {
  readonly dataOut?: Buffer;
  readonly nexus?: Nexus | null;
  readonly lun?: number;
  readonly isOrdered?: boolean;
}

/** Executes one CDB as a session would: memory of exactly the size that the disk asks for. */
export function execute(
  units: LogicalUnits,
  cdb: readonly number[],
  { dataOut = Buffer.alloc(0), nexus = null, lun = 0, isOrdered = false }: Execution = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const command = new DiskCommand(({ status, senseKey, asc, information, ...rest }) => {
      const data = Buffer.from(
        rest.slab?.bytes.subarray(rest.slabOffset, rest.slabOffset + rest.dataInBytes) ?? [],
      );
      resolve({ status, senseKey, asc, information, data });
    });
    command.cdb.set(cdb);
    command.nexus = nexus;
    command.isOrdered = isOrdered;
    const unit = units.unitFor(lun, command);
    if (!unit.prepare(command)) {
      command.done(command);
      return;
    }
    if (command.transferBytes > 0) {
      command.slab = new Slab(command.transferBytes + 8);
      command.slabOffset = 8;
      command.slab.bytes.set(dataOut.subarray(0, command.transferBytes), 8);
    }
    unit.execute(command);
  });
}

export const u16 = (value: number) => [value >> 8, value & 0xff];
export const u32 = (value: number) => [...u16(value >>> 16), ...u16(value & 0xffff)];
export const u64 = (value: number) => [
  ...u32(Math.floor(value / 2 ** 32)),
  ...u32(value % 2 ** 32),
];
export const cdb16 = (opcode: number, flags: number, lba: number, blocks: number) => [
  opcode,
  flags,
  ...u64(lba),
  ...u32(blocks),
  0,
  0,
];
export const cdb10 = (opcode: number, flags: number, lba: number, blocks: number) => [
  opcode,
  flags,
  ...u32(lba),
  0,
  ...u16(blocks),
  0,
];

export const ok = (outcome: Outcome) => {
  expect(outcome.status).toBe(ScsiStatus.good);
  return outcome;
};
export const refused = (
  outcome: Outcome,
  asc: number,
  senseKey: number = SenseKey.illegalRequest,
) => {
  expect(outcome.status).toBe(ScsiStatus.checkCondition);
  expect(outcome.senseKey).toBe(senseKey);
  expect(outcome.asc.toString(16)).toBe(asc.toString(16));
};
