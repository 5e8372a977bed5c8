import { spawnSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import type { BenchOptions } from './options.js';
import { versionOf } from './tools.js';

/** Where and with what the results came about. */
export interface Environment {
  readonly date: string;
  readonly commit: string;
  readonly machine: string;
  readonly kernel: string;
  readonly programs: readonly string[];
  readonly pinning: string;
}

export function describeEnvironment(
  options: BenchOptions,
  contestants: readonly string[],
): Environment {
  const processors = cpus();
  const peers = contestants.includes('qemu-tgt')
    ? [versionOf('qemu-nbd').replace(/ \(.*/, ''), `tgtd ${versionOf('tgtd')}`]
    : [];
  const { serverCpus, targetCpus, clientCpus } = options;
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    commit:
      git('rev-parse', '--short', 'HEAD') +
      (git('status', '--porcelain', 'src') === '' ? '' : ' and changes'),
    machine: `${processors.length} × ${processors[0]?.model ?? 'unknown'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    kernel: `Linux ${release()}`,
    programs: [
      `Node ${process.versions.node}`,
      versionOf('fio'),
      ...(contestants.includes('nbdkit') ? [versionOf('nbdkit')] : []),
      ...peers,
    ],
    pinning:
      serverCpus === null
        ? 'nothing is pinned'
        : `NBD servers on core ${serverCpus}, targets on core ${targetCpus}, fio on core ${clientCpus}`,
  };
}

function git(...args: string[]): string {
  return (spawnSync('git', args, { encoding: 'utf8' }).stdout ?? '').trim();
}
