import { IserNbdError } from '../common/errors.js';
import type { ErrorFacts } from '../common/errors.js';
import type { Sense } from '../scsi/sense.js';

/**
 * A logical unit cannot be used, or a command off the data path failed. Codes: `scsi-no-such-lun`, `scsi-not-a-disk`,
 * `scsi-no-capacity`, `scsi-block-size`, `scsi-not-ready`, `scsi-no-medium`, `scsi-malformed`, `scsi-status`,
 * `scsi-timeout`, `scsi-aborted`, `scsi-connection-lost`, `scsi-invalid-range`, `scsi-no-buffer`, `scsi-closed`,
 * `scsi-too-many-disks`, `scsi-other-unit`, `scsi-unit-unusable`, and those of {@link ScsiCheckCondition}.
 */
export class ScsiError extends IserNbdError {
  override readonly name: string = 'ScsiError';
}

/** A command ended with CHECK CONDITION. `code` is `scsi-sense-K-AA-QQ`, in hexadecimal. */
export class ScsiCheckCondition extends ScsiError {
  override readonly name = 'ScsiCheckCondition';
  readonly senseKey: number;
  /** `ASC << 8 | ASCQ`. */
  readonly asc: number;

  constructor(command: string, sense: Sense, facts: ErrorFacts) {
    super(
      `scsi-sense-${sense.triple.replaceAll('/', '-')}`,
      `${String(facts['lun'])}: ${command} failed: ${sense.toString()}`,
      { ...facts, command, sense: sense.triple },
    );
    this.senseKey = sense.key;
    this.asc = sense.asc;
  }
}
