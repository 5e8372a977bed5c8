import type { Counter, CounterSet } from '../observe/counters.js';
import { NbdCommand } from './wire.js';

/** What the server counts about its connections. */
export class ServerCounters {
  readonly accepted: Counter;
  readonly refused: Counter;
  readonly handshakesFailed: Counter;
  readonly secured: Counter;
  readonly protocolErrors: Counter;

  constructor(counters: CounterSet) {
    this.accepted = counters.counter('nbd_connections_total', 'NBD connections accepted');
    this.refused = counters.counter(
      'nbd_connections_refused_total',
      'NBD connections refused because there were too many',
    );
    this.secured = counters.counter('nbd_tls_total', 'NBD connections that changed to TLS');
    this.handshakesFailed = counters.counter(
      'nbd_handshakes_failed_total',
      'NBD handshakes that did not reach an export',
    );
    this.protocolErrors = counters.counter(
      'nbd_protocol_errors_total',
      'NBD connections closed because the client broke the protocol',
    );
  }
}

/** The counters of one export, over all its connections. */
export class ExportCounters {
  readonly errors: Counter;
  readonly readBytes: Counter;
  readonly writtenBytes: Counter;
  readonly stalls: Counter;
  readonly unflaggedWrites: Counter;
  readonly #requests: readonly Counter[];
  readonly #unknown: Counter;

  constructor(counters: CounterSet, exportName: string) {
    const labels = { export: exportName };
    const requests = (command: string): Counter =>
      counters.counter('nbd_requests_total', 'NBD requests received', { ...labels, command });
    const byNumber: Counter[] = [];
    for (const [name, number] of Object.entries(NbdCommand)) byNumber[number] = requests(name);
    this.#requests = byNumber;
    this.#unknown = requests('unknown');
    this.errors = counters.counter(
      'nbd_errors_total',
      'NBD requests answered with an error',
      labels,
    );
    this.readBytes = counters.counter('nbd_read_bytes_total', 'bytes sent to NBD clients', labels);
    this.writtenBytes = counters.counter(
      'nbd_written_bytes_total',
      'bytes received from NBD clients and written',
      labels,
    );
    this.stalls = counters.counter(
      'nbd_stalls_total',
      'times that an NBD client was held back: no free buffer or request, or too many unread replies',
      labels,
    );
    this.unflaggedWrites = counters.counter(
      'nbd_unflagged_writes_total',
      'extended NBD writes without NBD_CMD_FLAG_PAYLOAD_LEN, which were carried out all the same',
      labels,
    );
  }

  requests(command: number): Counter {
    return this.#requests[command] ?? this.#unknown;
  }
}
