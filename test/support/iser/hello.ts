import { IserHeaderType, ISER_HEADER_BYTES } from '../../../src/iscsi/iser-header.js';

/** Hello and HelloReply. `version` is minVer in a Hello and curVer in a reply; `readDepth` is IRD or ORD. */
interface IserHello {
  readonly type: typeof IserHeaderType.hello | typeof IserHeaderType.helloReply;
  /** Replies only: the target refuses the connection. */
  readonly isReject: boolean;
  readonly versionMax: number;
  readonly version: number;
  readonly readDepth: number;
}

/** Writes a Hello or HelloReply (RFC 7145 9.3 and 9.4), 28 bytes, which we never send. */
export function encodeHello(view: DataView, offset: number, hello: IserHello): void {
  for (let at = 0; at < ISER_HEADER_BYTES; at += 4) view.setUint32(offset + at, 0);
  const isReject = hello.type === IserHeaderType.helloReply && hello.isReject;
  view.setUint8(offset, hello.type | (isReject ? 1 : 0));
  view.setUint8(offset + 1, ((hello.versionMax & 0xf) << 4) | (hello.version & 0xf));
  view.setUint16(offset + 2, hello.readDepth);
}
