import { describe, expect, it } from 'vitest';
import { listedLunAddress } from '../../src/gateway/lun-address.js';
import { ScsiPortDouble } from '../support/scsi/port.js';
import { testServices } from '../support/scsi/services.js';

const PERIPHERAL = '0005000000000000';
const FLAT = '4005000000000000';
const LUN_0 = '0000000000000000';

function addressOf(lun: number, listedLuns: string[], refuses: string[] = []) {
  const port = new ScsiPortDouble({ refuses });
  port.listedLuns = listedLuns;
  return listedLunAddress(port, lun, testServices());
}

describe('how a LUN is addressed', () => {
  it.each([
    ['flat, as listed', [LUN_0, FLAT], 0x4005_0000],
    ['peripheral, as listed', [LUN_0, PERIPHERAL], 0x0005_0000],
    ['as everybody does, when it is listed in both ways', [FLAT, PERIPHERAL], 0x0005_0000],
    ['as everybody does, when it is not listed', [LUN_0, 'c105000000000000'], undefined],
  ])('%s', async (_how, listed, address) => {
    expect(await addressOf(5, listed)).toBe(address);
  });

  it('flat even for LUN 0', async () => {
    expect(await addressOf(0, ['4000000000000000'])).toBe(0x4000_0000);
  });

  it('as everybody does, when the target lists nothing', async () => {
    expect(await addressOf(5, [], ['REPORT LUNS'])).toBeUndefined();
  });
});
