/** A CPU profile as text: which functions and which folders the time went to. */
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

const FUNCTIONS_SHOWN = 32;

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  /** Microseconds between samples. */
  readonly timeDeltas: readonly number[];
}

/** Prints a summary of each profile in the folder. */
export function printProfiles(folder: string): void {
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  for (const name of files.sort()) {
    const profile = JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile;
    console.log(`\n${name}`);
    for (const line of summarizeProfile(profile)) console.log(line);
  }
}

/** Shares are of the time that the thread was not idle. Time within system calls counts where they were called from. */
export function summarizeProfile({ nodes, samples, timeDeltas }: CpuProfile): string[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const functions = new Map<string, number>();
  const places = new Map<string, number>();
  let busyUs = 0;
  let idleUs = 0;
  samples.forEach((id, index) => {
    const frame = byId.get(id)?.callFrame;
    const us = timeDeltas[index] ?? 0;
    if (frame === undefined || us < 0) return;
    if (frame.functionName === '(idle)') {
      idleUs += us;
      return;
    }
    busyUs += us;
    add(functions, nameOf(frame), us);
    add(places, placeOf(frame.url, frame.functionName), us);
  });
  const share = ([name, us]: [string, number]) =>
    `  ${((us / busyUs) * 100).toFixed(1).padStart(5)} %  ${name}`;
  return [
    `  busy ${(busyUs / 1e6).toFixed(1)} s, idle ${(idleUs / 1e6).toFixed(1)} s`,
    ...sorted(places).map(share),
    '  functions, own time:',
    ...sorted(functions).slice(0, FUNCTIONS_SHOWN).map(share),
  ];
}

function nameOf({ functionName, url, lineNumber }: ProfileNode['callFrame']): string {
  const file = url === '' ? '' : `  ${basename(url)}:${lineNumber + 1}`;
  return `${functionName === '' ? '(anonymous)' : functionName}${file}`;
}

/** A layer of ours, `node` for its JavaScript, or V8's own: `(program)` is native code, system calls among it. */
function placeOf(url: string, functionName: string): string {
  const layer = /\/dist\/(.*)\//.exec(url)?.[1];
  if (layer !== undefined) return layer;
  if (url.startsWith('node:')) return 'node (JavaScript)';
  return url === '' ? (functionName.startsWith('(') ? functionName : 'node (native)') : 'packages';
}

function add(sums: Map<string, number>, name: string, us: number): void {
  sums.set(name, (sums.get(name) ?? 0) + us);
}

function sorted(sums: Map<string, number>): [string, number][] {
  return [...sums].sort(([, a], [, b]) => b - a);
}
