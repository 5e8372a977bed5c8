import type { Counter, CounterSet } from '../../observe/counters.js';

/** The counters of a portal. */
export interface PortalCounters {
  readonly commands: Counter;
  readonly readBytes: Counter;
  readonly writtenBytes: Counter;
  readonly logins: Counter;
  readonly loginsRefused: Counter;
  readonly violations: Counter;
}

/** Makes the counters of a portal in `set`, labelled with the target's name. */
export function portalCounters(set: CounterSet, target: string): PortalCounters {
  const labels = { target };
  const counter = (name: string, help: string) => set.counter(name, help, labels);
  return {
    commands: counter('target_commands_total', 'SCSI commands received'),
    readBytes: counter('target_rdma_read_bytes_total', 'bytes fetched with RDMA Read'),
    writtenBytes: counter('target_rdma_write_bytes_total', 'bytes delivered with RDMA Write'),
    logins: counter('target_logins_total', 'logins that were accepted'),
    loginsRefused: counter('target_logins_refused_total', 'logins that were refused'),
    violations: counter('target_violations_total', 'connections ended for a protocol violation'),
  };
}
