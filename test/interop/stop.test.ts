/** What a client at work sees of an orderly stop: its answers, and the end; never an error. */
import { randomFillSync } from 'node:crypto';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { CMD, NbdTestClient, request } from '../support/nbd/client.js';
import { Program, temporaryFolder } from './program.js';

const MIB = 1 << 20;
const DEPTH = 64;
const BLOCK = 4096;
const folder = temporaryFolder();
let program: Program | null = null;

afterEach(async () => {
  await program?.stop('SIGKILL');
  program = null;
});

afterAll(() => folder.remove());

/** Keeps {@link DEPTH} requests in flight for as long as the server takes them, and notes every answer. */
class Worker {
  readonly errors = new Set<number>();
  answered = 0;
  readonly #client: NbdTestClient;
  readonly #block = randomFillSync(Buffer.alloc(BLOCK));
  #asked = 0;

  constructor(client: NbdTestClient) {
    this.#client = client;
  }

  /** Resolves at the end of the server's stream, which must be between two replies. */
  async run(): Promise<void> {
    for (let count = 0; count < DEPTH; count++) this.#ask();
    for (;;) {
      const head = await this.#client.read(16).catch(() => null);
      if (head === null) break;
      if (head.readUInt32BE(0) !== 0x67446698) throw new Error('out of step');
      const error = head.readUInt32BE(4);
      this.errors.add(error);
      if (isRead(head.readBigUInt64BE(8)) && error === 0) await this.#client.read(BLOCK);
      this.answered++;
      this.#ask();
    }
    expect(this.#client.restBytes).toBe(0);
    this.#client.socket.end();
  }

  #ask(): void {
    const cookie = BigInt(this.#asked++);
    const offset = (Number(cookie) * 7 * BLOCK) % (16 * MIB);
    if (isRead(cookie)) {
      this.#client.send(request({ command: CMD.read, offset, length: BLOCK, cookie }));
    } else this.#client.send(request({ command: CMD.write, offset, data: this.#block, cookie }));
  }
}

const isRead = (cookie: bigint): boolean => cookie % 2n === 0n;

describe.each([
  ['one process', []],
  ['two workers', ['--workers', '2']],
])('an orderly stop of %s', (_what, options) => {
  it.each([1, 2])('gives four clients at depth 64 answers, and no error (%i)', async (round) => {
    const path = folder.path(`stop-${options.length}-${round}.sock`);
    const args = ['serve', ...options, '--export', 'a=memory:16M', '--unix', path];
    program = await Program.start(args, 1);
    const workers: Worker[] = [];
    for (let count = 0; count < 4; count++) {
      workers.push(new Worker(await NbdTestClient.attach({ path }, 'a')));
    }
    const done = Promise.all(workers.map((worker) => worker.run()));
    await vi.waitFor(
      () => expect(workers.every(({ answered }) => answered > 500)).toBe(true),
      20_000,
    );
    const { status } = await program.stop();
    await done;
    expect(status).toBe(0);
    for (const { errors } of workers) expect([...errors]).toEqual([0]);
  });

  it('loses no answer to a client that reads late', async () => {
    const path = folder.path(`late-${options.length}.sock`);
    const args = ['serve', ...options, '--export', 'a=memory:16M', '--unix', path];
    program = await Program.start(args, 1);
    const idle = await NbdTestClient.attach({ path }, 'a');
    const client = await NbdTestClient.attach({ path }, 'a');
    const [count, length] = [DEPTH, 256 * 1024];
    const reads = Array.from({ length: count }, (_, index) =>
      request({ command: CMD.read, length, cookie: BigInt(index) }),
    );
    // All in one write: when the first is answered, all have been read.
    client.send(...reads);
    const first = await client.simpleReply();
    client.socket.pause();
    const stopped = program.stop();
    // It is stopping.
    await idle.ended;
    idle.socket.end();
    client.socket.resume();
    for (let index = 0; index < count; index++) {
      const { error } = index === 0 ? first : await client.simpleReply();
      expect(error).toBe(0);
      await client.read(length);
    }
    await client.ended;
    client.socket.end();
    expect((await stopped).status).toBe(0);
  });
});
