import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** How long the peer of a TCP connection has been silent, as the kernel counts it. */
export interface TcpState {
  /** Bytes that were sent or wait to be sent, and are not acknowledged. */
  readonly unackedBytes: number;
  /** Retransmissions and probes in a row without an answer, where the kernel counts them. An answer makes it 0. */
  readonly unansweredCount: number;
  /** Neither side has closed the connection. */
  readonly isEstablished: boolean;
}

/** Three seconds. The slowest links acknowledge in a fifth of that; the least timeout, 200 ms, has doubled four times. */
const BACKED_OFF_RTO = 300;
const PATHS = ['/proc/self/net/tcp', '/proc/self/net/tcp6'] as const;
/** `TCP_ESTABLISHED`. */
const ESTABLISHED = '01';

/**
 * Whether a TCP connection is up and neither side has closed it. True where the kernel has no table of connections.
 */
export async function isEstablished(inode: number): Promise<boolean> {
  const states = await readTcpTable(new Set([inode]));
  const state = states.get(inode);
  // A connection that was reset is in no table any more.
  return state === undefined ? !existsSync(PATHS[0]) : state.isEstablished;
}

/**
 * The states of TCP connections of this network namespace, by the inodes of their sockets. Only inodes in `wanted` are
 * returned. Empty where the kernel has no such tables.
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
      // The system is not Linux, or has no IPv6.
    }
  }
  return states;
}

/**
 * One line of /proc/net/tcp (Documentation/networking/proc_net_tcp.rst), or null for its heading:
 *
 *     sl local rem st tx_queue:rx_queue tr:when retrnsmt uid timeout inode ref location rto …
 *
 * `tx_queue` and `retrnsmt` are hexadecimal. `timeout` counts the probes of keep-alive and of a closed window. Segments
 * that are sent again into a window that has closed meanwhile are not counted, but they double `rto`, which is in
 * hundredths of a second. The next acknowledgement resets it.
 */
export function parseTcpLine(line: string): (TcpState & { readonly inode: number }) | null {
  const columns = line.trim().split(/\s+/);
  const [
    ,
    ,
    ,
    state = '',
    queues = '',
    ,
    retransmits = '',
    ,
    probes = '',
    inode = '',
    ,
    ,
    rto = '',
  ] = columns;
  if (!/^\d+$/.test(inode)) return null;
  const unackedBytes = parseInt(queues, 16);
  const isSentAgain = unackedBytes > 0 && Number(rto) >= BACKED_OFF_RTO;
  const counted = parseInt(retransmits, 16) + Number(probes);
  return {
    inode: Number(inode),
    unackedBytes,
    isEstablished: state === ESTABLISHED,
    unansweredCount: counted === 0 && isSentAgain ? 1 : counted,
  };
}
