import type { FileCall } from './agent.js';
import { ISCSI_PORT } from '../../../src/iscsi/portal.js';
import type { Guest } from './guest.js';

const ROOT = '/sys/kernel/config/target';
const CORE = `${ROOT}/core`;
const ISCSI = `${ROOT}/iscsi`;
const PAGE_BYTES = 4096;
const MIB = 1 << 20;

export type LioLun =
  | { readonly kind: 'ramdisk'; readonly mib: number }
  /** A sparse file on the guest's tmpfs; UNMAP and WRITE SAME give its blocks back. */
  | { readonly kind: 'file'; readonly mib: number };

/** CHAP names and secrets; the second pair is what the target proves to the initiator. */
export interface LioChap {
  readonly user: string;
  readonly secret: string;
  readonly mutualUser?: string;
  readonly mutualSecret?: string;
}

export interface LioOptions {
  readonly name: string;
  readonly luns: readonly LioLun[];
  /** The one initiator that may log in, and how it proves itself; without it anybody may. */
  readonly only?: { readonly initiator: string; readonly chap?: LioChap };
}

let backstores = 0;

/** The kernel's own target, configured as a person would with targetcli, and reached by iSER only. */
export class LioTarget {
  readonly name: string;
  readonly #guest: Guest;
  readonly #luns: readonly LioBackstore[];

  private constructor(guest: Guest, name: string, luns: readonly LioBackstore[]) {
    this.#guest = guest;
    this.name = name;
    this.#luns = luns;
  }

  static async create(guest: Guest, { name, luns, only }: LioOptions): Promise<LioTarget> {
    await guest.script(
      // The kernel looks for its database folder and says so when it is not there.
      'mkdir -p /etc/target; for module in iscsi_target_mod ib_isert; do modprobe $module; done',
    );
    const stores: LioBackstore[] = [];
    for (const lun of luns) stores.push(await createBackstore(guest, lun));
    const group = `${ISCSI}/${name}/tpgt_1`;
    await guest.files(
      ['mkdir', group],
      ['write', `${group}/attrib/authentication`, only?.chap === undefined ? '0' : '1'],
      ['write', `${group}/attrib/generate_node_acls`, only === undefined ? '1' : '0'],
      ['write', `${group}/attrib/demo_mode_write_protect`, '0'],
      ...stores.flatMap(({ folder }, lun): FileCall[] => [
        ['mkdir', `${group}/lun/lun_${lun}`],
        ['link', folder, `${group}/lun/lun_${lun}/backstore`],
      ]),
    );
    if (only !== undefined) await guest.files(...accessCalls(group, only, stores.length));
    await openPortal(guest, group);
    await guest.files(['write', `${group}/enable`, '1']);
    return new LioTarget(guest, name, stores);
  }

  /** How our initiator on the host names a LUN. */
  url(lun: number, query = ''): string {
    return `iser://127.0.0.1:${this.#guest.iscsiPort}/${this.name}/${lun}${query}`;
  }

  async sessionCount(): Promise<number> {
    const path = `${ISCSI}/${this.name}/fabric_statistics/iscsi_instance/sessions`;
    return Number(await this.#guest.read(path));
  }

  /** Bytes that a file LUN takes in the guest's memory. */
  async allocatedBytes(lun: number): Promise<number> {
    const [bytes] = await this.#guest.files(['allocated', this.#luns[lun]?.file ?? '']);
    return Number(bytes);
  }
}

interface LioBackstore {
  readonly folder: string;
  readonly file: string | null;
}

async function createBackstore(guest: Guest, lun: LioLun): Promise<LioBackstore> {
  const index = backstores++;
  const bytes = lun.mib * MIB;
  const plugin = lun.kind === 'ramdisk' ? 'rd_mcp' : 'fileio';
  const folder = `${CORE}/${plugin}_${index}/lab${index}`;
  const file = lun.kind === 'file' ? `/lab/lun${index}.img` : null;
  const control =
    file === null
      ? `rd_pages=${bytes / PAGE_BYTES}`
      : `fd_dev_name=${file},fd_dev_size=${bytes},fd_buffered_io=1`;
  if (file !== null) await guest.must('truncate', '-s', String(bytes), file);
  await guest.must('modprobe', file === null ? 'target_core_mod' : 'target_core_file');
  await guest.files(
    ['mkdir', folder],
    ['write', `${folder}/control`, control],
    ['write', `${folder}/enable`, '1'],
    ['write', `${folder}/wwn/vpd_unit_serial`, `iser-nbd-lab-${index}`],
  );
  if (file !== null) {
    // Known to the kernel only once the backstore is enabled.
    await guest.files(
      ['write', `${folder}/attrib/emulate_tpu`, '1'],
      ['write', `${folder}/attrib/emulate_tpws`, '1'],
      ['write', `${folder}/attrib/unmap_zeroes_data`, '1'],
    );
  }
  return { folder, file };
}

function accessCalls(
  group: string,
  { initiator, chap }: NonNullable<LioOptions['only']>,
  lunCount: number,
): FileCall[] {
  const acl = `${group}/acls/${initiator}`;
  const calls: FileCall[] = [['mkdir', acl]];
  if (chap !== undefined) {
    calls.push(['write', `${acl}/auth/userid`, chap.user]);
    calls.push(['write', `${acl}/auth/password`, chap.secret]);
  }
  if (chap?.mutualUser !== undefined && chap.mutualSecret !== undefined) {
    calls.push(['write', `${acl}/auth/userid_mutual`, chap.mutualUser]);
    calls.push(['write', `${acl}/auth/password_mutual`, chap.mutualSecret]);
  }
  for (let lun = 0; lun < lunCount; lun++) {
    calls.push(['mkdir', `${acl}/lun_${lun}`]);
    calls.push(['link', `${group}/lun/lun_${lun}`, `${acl}/lun_${lun}/lun`]);
  }
  return calls;
}

/**
 * LIO makes a TCP listener for a portal before it can be told that the portal is iSER, and siw needs the same TCP port.
 * So the portal is made from another network namespace, where the listener is in nobody's way.
 */
async function openPortal(guest: Guest, group: string): Promise<void> {
  const portal = `${group}/np/0.0.0.0:${ISCSI_PORT}`;
  await guest.must('unshare', '-n', 'mkdir', portal);
  await guest.files(['write', `${portal}/iser`, '1']);
}
