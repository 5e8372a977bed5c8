import { spawn } from 'node:child_process';
import type * as ChildProcesses from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { HolePuncher, probePunching } from '../../src/store/hole-puncher.js';

vi.mock('node:child_process', async (original) => {
  const real = await original<typeof ChildProcesses>();
  return { ...real, spawn: vi.fn(real.spawn) };
});

it('says why a file cannot have holes punched', async () => {
  const fd = openSync('/dev/null', 'r+');
  expect(await probePunching(fd, 0)).not.toBeNull();
  closeSync(fd);
});

it('says that the tool is missing', async () => {
  const path = process.env.PATH;
  process.env.PATH = '/nonexistent';
  try {
    expect(await probePunching(0, 0)).toMatch(/ENOENT/);
  } finally {
    process.env.PATH = path;
  }
});

it('says that no process can be started, in a later turn', async () => {
  vi.mocked(spawn).mockImplementation(() => {
    throw new Error('spawn ENOMEM');
  });
  try {
    expect(await probePunching(0, 0)).toBe('spawn ENOMEM');
    let isInside = true;
    const puncher = new HolePuncher(0);
    const told = Promise.all(
      [0, 8, 16, 24].map(
        (page) =>
          new Promise((resolve) => {
            puncher.punch({
              offset: page * 4096,
              lengthBytes: 4096,
              done: (error) => resolve([error, isInside]),
            });
          }),
      ),
    );
    isInside = false;
    expect(await told).toEqual(Array(4).fill(['spawn ENOMEM', false]));
  } finally {
    vi.mocked(spawn).mockReset();
  }
});

it('tells everybody whose ranges were joined', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-punch-'));
  const fd = openSync(join(folder, 'file'), 'w+');
  const puncher = new HolePuncher(fd);
  const order: number[] = [];
  await Promise.all(
    [5, 1, 3, 2, 4, 9].map(
      (page) =>
        new Promise<void>((resolve) => {
          puncher.punch({
            offset: page * 4096,
            lengthBytes: 4096,
            done: () => {
              order.push(page);
              resolve();
            },
          });
        }),
    ),
  );
  expect(order.sort()).toEqual([1, 2, 3, 4, 5, 9]);
  closeSync(fd);
  rmSync(folder, { recursive: true });
});
