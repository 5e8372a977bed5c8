import type { Guest } from './guest.js';

/** What of an RDMA device is in use; a leak shows here. */
export interface RdmaResources {
  readonly queuePairs: number;
  readonly completionQueues: number;
  readonly connections: number;
}

const DEVICE = 'siw0';

/** Gives the guest an iWARP device that is software over its Ethernet interface. */
export async function addSoftIwarp(guest: Guest): Promise<void> {
  await guest.must('modprobe', 'siw');
  await guest.must('rdma', 'link', 'add', DEVICE, 'type', 'siw', 'netdev', 'eth0');
}

export async function rdmaResources(guest: Guest): Promise<RdmaResources> {
  const table = await guest.must('rdma', 'resource', 'show');
  const line = table.split('\n').find((text) => text.includes(DEVICE)) ?? '';
  const count = (name: string) => Number(new RegExp(`\\b${name} (\\d+)`).exec(line)?.[1] ?? NaN);
  return { queuePairs: count('qp'), completionQueues: count('cq'), connections: count('cm_id') };
}
