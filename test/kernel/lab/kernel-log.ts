/** One record of the guest's /dev/kmsg. */
export interface KernelMessage {
  /** 0 emergency … 3 error, 4 warning, … 7 debug. */
  readonly level: number;
  readonly sequence: number;
  readonly timeUs: number;
  readonly text: string;
}

const WARNING = 4;

/** What the lab is about: a warning or worse that names one of these is a finding, and so is any error. */
const OURS =
  /siw|isert|iser|iscsi|rdma|infiniband|nbd|target|tcm|fileio|rd_mcp|scsi|\bsd[a-z]\b|blk|block|I\/O|buffer|ext4|xfs|bug|warn|stall|hung|call trace/i;
const ERROR = 3;

/** What a healthy run does say. */
const NOISE: readonly RegExp[] = [
  /module verification failed|out-of-tree module/,
  // siw and LIO ask the virtual network card for its speed, and it has none.
  /^eth0 speed is unknown/,
  // Ends every detach; a connection that is lost says more than this.
  /^block nbd\d+: shutting down sockets$/,
  // The unit attention of a session's first command.
  /^sd \S+: Power-on or device reset occurred$/,
  // LIO does not know GET LBA STATUS, and cannot say so before it is asked.
  /^Unsupported SA: 0x12$/,
  /hrtimer: interrupt took|Spectre|RETBleed|clocksource|\btsc\b/i,
];

/** Everything the guest's kernel has said, in order. */
export class KernelLog {
  readonly #messages: KernelMessage[] = [];
  #listener: (text: string) => void = () => undefined;

  /** Takes one record as /dev/kmsg gives it: `priority,sequence,microseconds,flags;text`. */
  add(record: string): KernelMessage | null {
    const match = /^(\d+),(\d+),(\d+),[^;]*;([^\n]*)/.exec(record);
    if (match === null) return null;
    const [, priority, sequence, timeUs, text = ''] = match;
    const message = {
      level: Number(priority) & 7,
      sequence: Number(sequence),
      timeUs: Number(timeUs),
      text,
    };
    this.#messages.push(message);
    this.#listener(formatMessage(message));
    return message;
  }

  /** Hands on every message from now on, as a line for people. */
  onMessage(listener: (text: string) => void): void {
    this.#listener = listener;
  }

  get length(): number {
    return this.#messages.length;
  }

  since(position: number): readonly KernelMessage[] {
    return this.#messages.slice(position);
  }

  /** What a healthy run does not say; `expected` names what the test provoked. */
  complaintsSince(position: number, expected: readonly RegExp[] = []): string[] {
    return this.since(position)
      .filter(({ level, text }) => level <= ERROR || (level === WARNING && OURS.test(text)))
      .filter(({ text }) => ![...NOISE, ...expected].some((pattern) => pattern.test(text)))
      .map(formatMessage);
  }

  toString(): string {
    return this.#messages.map(formatMessage).join('\n');
  }
}

function formatMessage({ level, timeUs, text }: KernelMessage): string {
  return `[${(timeUs / 1e6).toFixed(6).padStart(12)}] <${level}> ${text}`;
}
