import { IserBed } from './upper-layer.js';
import type { IserBedOptions } from './upper-layer.js';
import type { DatamoverUnderTest } from '../../compliance/datamover-suite.js';
import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import type { SessionPath } from '../initiator/session-under-test.js';
import type { PeerPdu } from './peer.js';

/** An iSER connection to a scripted peer. */
export async function iserUnderTest(path: SessionPath): Promise<DatamoverUnderTest> {
  const overTcp: IserBedOptions = {
    transport: () => new IwarpTransport(),
    peer: { host: '127.0.0.1' },
  };
  const bed = await IserBed.listening({
    ...(path.over === 'iWARP' ? overTcp : {}),
    module: { registration: path.registration },
  });
  const accepted = bed.peer.nextConnection();
  const connection = await bed.connect();
  const far = await accepted;
  const commandOf = (tag: number): PeerPdu => {
    const pdu = far.pdus.find(({ bhs, header }) => {
      return bhs.readUInt32BE(16) === tag && (header.isReadStagValid || header.isWriteStagValid);
    });
    if (pdu === undefined) throw new Error(`no command ${tag} with data has come`);
    return pdu;
  };
  return {
    connection,
    peer: {
      pdus: () => far.pdus,
      send: (bhs, data) => far.send(bhs, data),
      place: (tag, bytes) => {
        const { readStag, readAddressHigh, readAddressLow } = commandOf(tag).header;
        return far.write(readStag, readAddressHigh, readAddressLow, bytes);
      },
      fetch: (tag, length) => {
        const { writeStag, writeAddressHigh, writeAddressLow } = commandOf(tag).header;
        return far.read(writeStag, writeAddressHigh, writeAddressLow, length);
      },
      disconnect: () => far.disconnect(),
    },
    close: () => bed.close(),
  };
}
