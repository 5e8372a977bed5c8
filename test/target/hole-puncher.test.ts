import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { HolePuncher, probePunching } from '../../src/target/hole-puncher.js';

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
