import { IwarpTransport } from '../../../src/transport/iwarp/transport.js';
import type { IwarpOptions } from '../../../src/transport/iwarp/transport.js';
import { transportSuite } from '../../compliance/transport-suite.js';

const address = { host: '127.0.0.1', port: 0 };

function suite(name: string, options: IwarpOptions): void {
  transportSuite(name, () => ({
    active: new IwarpTransport(options),
    passive: new IwarpTransport(options),
    address,
  }));
}

suite('iwarp (without CRC)', { crc: 'off' });
suite('iwarp (with CRC)', { crc: 'on' });
suite('iwarp (FPDUs of 65500 bytes)', { crc: 'off', fpduBytes: 65_500 });
