import { CMD, PAYLOAD_LEN, extendedRequest, request } from './client.js';
import type { RequestFields } from './client.js';
import { ReplyDecoder } from './decoder.js';
import type { Answer, Style } from './decoder.js';
import { TransmissionBed } from './transmission-bed.js';
import type { TransmissionBedOptions } from './transmission-bed.js';
import { turn } from '../waiting.js';

/** A client with a decoder in front of a {@link TransmissionBed}, in one of the reply styles. */
export class Conversation {
  readonly bed: TransmissionBed;
  readonly decoder: ReplyDecoder;
  readonly #style: Style;
  readonly #contexts: readonly number[];
  #cookie = 0xc0de_0001_0000_0000n;

  constructor(style: Style, options: Omit<TransmissionBedOptions, 'agreed'> = {}) {
    this.#style = style;
    this.#contexts = style === 'simple' ? [] : [1];
    const agreed = { replyStyle: style, contexts: this.#contexts };
    this.bed = new TransmissionBed({ ...options, agreed });
    this.decoder = new ReplyDecoder(style, this.bed.pool.requestBytesMax);
  }

  /** Sends a request and returns its cookie. `asked` is for requests whose length is not their effect length. */
  ask(fields: RequestFields, effectLength?: bigint): bigint {
    const cookie = this.#cookie++;
    const { command, offset = 0, data, length = data?.length ?? 0 } = fields;
    const isExtended = this.#style === 'extended';
    const flags = fields.flags ?? (isExtended && command === CMD.write ? PAYLOAD_LEN : 0);
    this.decoder.ask(cookie, {
      command,
      offset: BigInt(offset),
      length: effectLength ?? BigInt(length),
      flags,
      contexts: this.#contexts,
    });
    const encode = isExtended ? extendedRequest : request;
    this.bed.receive(encode({ ...fields, flags, cookie }));
    return cookie;
  }

  /** Decodes what was sent, and lets it leave. */
  flush(count?: number): void {
    this.bed.flush(count);
    this.decoder.feed(this.bed.output);
    this.bed.output = Buffer.alloc(0);
  }

  /** Lets everything go on until nothing moves any more. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3; idle++) {
      await turn();
      if (this.bed.device.held.length === 0 && this.bed.sent.length === 0) continue;
      idle = 0;
      this.bed.device.completeAll();
      this.flush();
    }
  }

  /** Asks, and waits for the answer. */
  async call(fields: RequestFields, effectLength?: bigint): Promise<Answer> {
    const cookie = this.ask(fields, effectLength);
    await this.settle();
    const answer = this.decoder.take(cookie);
    if (answer === undefined) throw new Error('no answer');
    return answer;
  }
}
