import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { prepareLab } from './lab/lab.js';
import type { Lab, NoLab } from './lab/lab.js';
import { projectFolder } from './lab/project.js';

declare module 'vitest' {
  interface ProvidedContext {
    kernelLab: Lab | NoLab;
  }
}

/** Once for all test files: makes the lab ready, or says why there is none. */
export async function setup(project: TestProject): Promise<void> {
  if (!existsSync(join(projectFolder, 'dist', 'cli', 'main.js'))) {
    throw new Error('the program is not built: npm run build');
  }
  const lab = await prepareLab((line) => console.log(`kernel lab: ${line}`));
  if ('missing' in lab) console.warn(`\nskipped: the kernel lab, because ${lab.missing}\n`);
  project.provide('kernelLab', lab);
}
