import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { DataSocket } from '../../src/socket/data-socket.js';
import { parseTcpLine, readTcpTable } from '../../src/socket/tcp-table.js';

describe('a line of the kernel’s table of connections', () => {
  it.each([
    // Idle, with a keep-alive timer.
    [
      '  12: 0100007F:5FDC 0100007F:CA8C 01 00000000:00000000 02:00000042 00000000     0        0 2331 2 0000000054f49f2c 20 4 30 10 -1',
      { inode: 2331, unackedBytes: 0, unansweredCount: 0, isEstablished: true },
    ],
    // 4113 bytes were sent again, six times.
    [
      '   0: 0205C612:2A39 0105C612:AA5E 01 00001011:00000000 01:000004C4 00000006     0        0 99871 4 00000000b3e8b1e3 1600 4 28 10 7',
      { inode: 99871, unackedBytes: 4113, unansweredCount: 6, isEstablished: true },
    ],
    // Three probes were not answered.
    [
      '   7: 0205C612:2A39 0105C612:AA5F 01 00000000:00000000 02:0000002A 00000000     0        3 4711 4 00000000b3e8b1e3 20 4 28 10 7',
      { inode: 4711, unackedBytes: 0, unansweredCount: 3, isEstablished: true },
    ],
    // Sent again and again into a closed window, which is not counted.
    [
      '   3: 0205C612:2A39 0105C612:AA5E 01 000A8A08:00000000 01:0000049B 00000000     0        0 99871 3 00000000aa1a3066 665 4 25 1 -1',
      { inode: 99871, unackedBytes: 690_696, unansweredCount: 1, isEstablished: true },
    ],
    // In full flow.
    [
      '   3: 0205C612:2A39 0105C612:AA5E 01 000A8A08:00000000 01:00000014 00000000     0        0 99871 3 00000000aa1a3066 20 4 25 10 -1',
      { inode: 99871, unackedBytes: 690_696, unansweredCount: 0, isEstablished: true },
    ],
    // IPv6.
    [
      '   1: 00000000000000000000000001000000:1770 00000000000000000000000001000000:D2F6 01 000A8451:00000000 04:00000EA1 00000000  1000        5 31 4 00000000b3e8b1e3 20 4 28 10 7',
      { inode: 31, unackedBytes: 689_233, unansweredCount: 5, isEstablished: true },
    ],
  ])('%s', (line, expected) => {
    expect(parseTcpLine(line)).toEqual(expected);
  });

  it.each([
    '',
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid',
  ])('that is none: %j', (line) => {
    expect(parseTcpLine(line)).toBeNull();
  });
});

describe.runIf(process.platform === 'linux')('the kernel’s table of connections', () => {
  it('has those that are asked for, by the inode of their socket', async () => {
    const accepted = new Promise<DataSocket>((resolve) => {
      const options = { pauseOnConnect: true, allowHalfOpen: true };
      const server = createServer(options, (socket) => {
        resolve(DataSocket.adopt(socket, { onBytes: () => undefined, onClose: () => undefined }));
        server.close();
      });
      server.listen(0, '127.0.0.1', () => {
        // It ends by itself when the other side does.
        connect((server.address() as AddressInfo).port, '127.0.0.1').resume();
      });
    });
    const socket = await accepted;
    const { inode } = socket;
    expect(inode).toBeGreaterThan(0);
    const states = await readTcpTable(new Set([inode ?? 0]));
    expect([...states]).toEqual([[inode, expect.objectContaining({ unackedBytes: 0 })]]);
    socket.destroy();
    expect(socket.inode).toBeNull();
  });
});
