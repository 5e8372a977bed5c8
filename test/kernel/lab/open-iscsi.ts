import type { Guest } from './guest.js';
import type { Finished } from './host-command.js';

export interface ChapCredentials {
  readonly user: string;
  readonly secret: string;
}

/** A target as the kernel's initiator names it. */
export interface KernelTarget {
  readonly name: string;
  /** HOST:PORT as the guest reaches it. */
  readonly portal: string;
  readonly chap?: ChapCredentials;
  readonly mutualChap?: ChapCredentials;
  /** The interface record to log in through; `iser` is the machine's own. */
  readonly through?: string;
}

/** iscsiadm's status where there is nothing to do something to (ISCSI_ERR_NO_OBJS_FOUND). */
const NO_OBJECTS_FOUND = 21;
const PORTAL_GROUP = 1;
const INITIATOR_NAME = 'iqn.2026-11.io.example.lab:guest';

/** The kernel's initiator with its iSER transport, driven by open-iscsi as on any Linux machine. */
export class OpenIscsi {
  readonly #guest: Guest;

  private constructor(guest: Guest) {
    this.#guest = guest;
  }

  static async start(guest: Guest): Promise<OpenIscsi> {
    await guest.script('for module in iscsi_tcp ib_iser sd_mod sg; do modprobe $module; done');
    await guest.files(
      ['mkdir', '/etc/iscsi'],
      ['write', '/etc/iscsi/initiatorname.iscsi', `InitiatorName=${INITIATOR_NAME}\n`],
      ['mkdir', '/run/lock/iscsi'],
      ['remove', '/etc/iscsi/nodes'],
      ['remove', '/etc/iscsi/send_targets'],
    );
    await guest.must('iscsid');
    return new OpenIscsi(guest);
  }

  /** SendTargets over iSER: `PORTAL,GROUP NAME` per line. */
  async discover(portal: string, chap: ChapCredentials | null = null): Promise<string> {
    const about = ['-t', 'sendtargets', '-p', portal, '-I', 'iser'];
    const record = ['iscsiadm', '-m', 'discoverydb', ...about];
    await this.#guest.must(...record, '-o', 'new');
    const auth = 'discovery.sendtargets.auth';
    const settings: [string, string][] =
      chap === null
        ? []
        : [
            [`${auth}.authmethod`, 'CHAP'],
            [`${auth}.username`, chap.user],
            [`${auth}.password`, chap.secret],
          ];
    // A refused login is an answer here, too.
    settings.push(['discovery.sendtargets.reopen_max', '0']);
    for (const [name, value] of settings) {
      await this.#guest.must(...record, '-o', 'update', '-n', name, '-v', value);
    }
    return this.#guest.must(...record, '--discover', '-o', 'nonpersistent');
  }

  /** Makes an interface record that logs in under a name of its own, as another machine would. */
  async addInterface(name: string, initiatorName: string): Promise<void> {
    const iface = ['iscsiadm', '-m', 'iface', '-I', name];
    await this.#guest.must(...iface, '-o', 'new');
    for (const [setting, value] of [
      ['iface.transport_name', 'iser'],
      ['iface.initiatorname', initiatorName],
    ] as const) {
      await this.#guest.must(...iface, '-o', 'update', '-n', setting, '-v', value);
    }
  }

  /** Records a target and how to log in to it. */
  async add(target: KernelTarget): Promise<void> {
    await this.#node(target, ['-o', 'new']);
    const settings: [string, string][] = [];
    const { chap, mutualChap } = target;
    if (chap !== undefined) {
      settings.push(['node.session.auth.authmethod', 'CHAP']);
      settings.push(['node.session.auth.username', chap.user]);
      settings.push(['node.session.auth.password', chap.secret]);
    }
    if (mutualChap !== undefined) {
      settings.push(['node.session.auth.username_in', mutualChap.user]);
      settings.push(['node.session.auth.password_in', mutualChap.secret]);
    }
    // A refused login is an answer, and a lost session a finding: neither is tried again for two minutes.
    settings.push(['node.session.initial_login_retry_max', '1']);
    settings.push(['node.session.timeo.replacement_timeout', '5']);
    for (const [name, value] of settings) {
      await this.#node(target, ['-o', 'update', '-n', name, '-v', value]);
    }
  }

  /** Logs in, however that ends. */
  tryLogin(target: KernelTarget): Promise<Finished> {
    return this.#guest.run(this.#command(target, ['--login']));
  }

  /** Logs in and gives the disks of the target's sessions, in LUN order, once there are `lunCount`. */
  async login(target: KernelTarget, lunCount: number): Promise<string[]> {
    await this.#node(target, ['--login']);
    return this.#guest.until(
      () => this.disks(target.name),
      (disks) => disks.length === lunCount,
    );
  }

  async logout(target: KernelTarget): Promise<void> {
    await this.#node(target, ['--logout']);
  }

  /** Ends every session and forgets every target, as after a test that did not come to its own end. */
  async forgetAll(): Promise<void> {
    const { status, stderr } = await this.#guest.run(['iscsiadm', '-m', 'session', '--logout']);
    if (status !== 0 && status !== NO_OBJECTS_FOUND) throw new Error(stderr);
    await this.#guest.files(['remove', '/etc/iscsi/nodes'], ['remove', '/etc/iscsi/ifaces']);
  }

  async disks(targetName: string): Promise<string[]> {
    const found = await this.#guest.script(DISKS_OF_TARGET, targetName);
    return found.split('\n').filter(Boolean);
  }

  /** What the kernel says of its sessions, with the attached disks. */
  async sessions(): Promise<string> {
    const { stdout } = await this.#guest.run(['iscsiadm', '-m', 'session', '-P', '3']);
    return stdout;
  }

  async #node(target: KernelTarget, args: readonly string[]): Promise<string> {
    return this.#guest.must(...this.#command(target, args));
  }

  #command({ name, portal, through = 'iser' }: KernelTarget, args: readonly string[]): string[] {
    // Only with its portal group can a target be recorded for several interfaces.
    const address = `${portal},${PORTAL_GROUP}`;
    return ['iscsiadm', '-m', 'node', '-T', name, '-p', address, '-I', through, ...args];
  }
}

/** By sysfs, in LUN order: session → its SCSI devices → their disks, once these can be opened. */
const DISKS_OF_TARGET = `
shopt -s nullglob
for session in /sys/class/iscsi_session/session*; do
  [ "$(cat $session/targetname)" = "$1" ] || continue
  for block in $session/device/target*/*:*:*:*/block/*; do
    [ -b /dev/\${block##*/} ] && echo "$(basename $(dirname $(dirname $block)) | cut -d: -f4) /dev/\${block##*/}"
  done
done | sort -n | cut -d' ' -f2
`;
