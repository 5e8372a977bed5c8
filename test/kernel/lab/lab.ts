import { Guest } from './guest.js';
import type { GuestOptions } from './guest.js';
import { makeInitramfs } from './initramfs.js';
import { prepareKernel } from './kernel.js';
import type { Kernel } from './kernel.js';
import { installPackages, isRoot, missingPackages, unsuitableHost } from './packages.js';

/** A lab that is ready to boot guests. */
export interface Lab {
  readonly kernel: Kernel;
  readonly initramfs: string;
}

/** Why there is no lab on this machine. */
export interface NoLab {
  readonly missing: string;
}

/** Installs, downloads and builds what is not there yet. Seconds when all is there, about two minutes the first time. */
export async function prepareLab(say: (line: string) => void): Promise<Lab | NoLab> {
  const unsuitable = unsuitableHost();
  if (unsuitable !== null) return { missing: unsuitable };
  const packages = missingPackages();
  if (packages.length > 0) {
    if (!isRoot())
      return { missing: `not installed, and not root to install: ${packages.join(' ')}` };
    say(`installing ${packages.join(' ')}`);
    await installPackages(packages);
  }
  try {
    const kernel = await prepareKernel(say);
    return { kernel, initramfs: await makeInitramfs(kernel) };
  } catch (error) {
    // Without root a lab is a convenience; with root its absence is a fault.
    if (isRoot()) throw error;
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}

export function bootGuest(
  lab: Lab,
  options: Omit<GuestOptions, 'kernel' | 'initramfs'> = {},
): Promise<Guest> {
  return Guest.boot({ ...options, ...lab });
}
