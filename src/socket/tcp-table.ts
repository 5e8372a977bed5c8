import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** How far a TCP connection's peer has fallen silent, as the kernel counts it. */
export interface TcpState {
  /** Bytes that were sent, or are to be, and are not acknowledged. */
  readonly unackedBytes: number;
  /** Retransmissions and probes in a row without an answer, as far as they are counted; an answer makes it 0. */
  readonly unansweredCount: number;
}

/** Three seconds: five times as long as the slowest links take to acknowledge, and four times doubled from the least. */
const BACKED_OFF_RTO = 300;
const PATHS = ['/proc/self/net/tcp', '/proc/self/net/tcp6'];

/**
 * The states of this network namespace's TCP connections, by their sockets' inodes: those that are `wanted` and are
 * there. Empty where the kernel has no such tables.
 */
export async function readTcpTable(
  wanted: ReadonlySet<number>,
): Promise<ReadonlyMap<number, TcpState>> {
  const states = new Map<number, TcpState>();
  for (const path of PATHS) {
    try {
      for await (const line of createInterface({ input: createReadStream(path, 'latin1') })) {
        const found = parseTcpLine(line);
        if (found !== null && wanted.has(found.inode)) states.set(found.inode, found);
      }
    } catch {
      // Another system than Linux, or one without IPv6.
    }
  }
  return states;
}

/**
 * One line of /proc/net/tcp (Documentation/networking/proc_net_tcp.rst), or null for its heading:
 *
 *     sl local rem st tx_queue:rx_queue tr:when retrnsmt uid timeout inode ref location rto …
 *
 * `tx_queue` and `retrnsmt` are hexadecimal; `timeout` counts probes, of keep-alive and of a closed window. What is
 * sent again into a window that has closed over it is not counted, but doubles `rto`, which is in hundredths of a
 * second; the next acknowledgement takes that back.
 */
export function parseTcpLine(line: string): (TcpState & { readonly inode: number }) | null {
  const columns = line.trim().split(/\s+/);
  const [, , , , queues = '', , retransmits = '', , probes = '', inode = '', , , rto = ''] =
    columns;
  if (!/^\d+$/.test(inode)) return null;
  const unackedBytes = parseInt(queues, 16);
  const isSentAgain = unackedBytes > 0 && Number(rto) >= BACKED_OFF_RTO;
  const counted = parseInt(retransmits, 16) + Number(probes);
  return {
    inode: Number(inode),
    unackedBytes,
    unansweredCount: counted === 0 && isSentAgain ? 1 : counted,
  };
}
