// write-tree.mjs FOLDER MIB: files, links and folders of many kinds and sizes, of random content, for a file system to
// keep.
import { randomFillSync } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';

const [folder, mib] = process.argv.slice(2);
const at = (...names) => join(folder, ...names);
const random = randomFillSync(Buffer.allocUnsafe(Number(mib) << 20));
/** Around blocks and pages. */
const SIZES = [0, 1, 511, 512, 513, 4095, 4096, 4097, 65535, 65537, 1000003];
const COPIES = 3;
const DEPTH = 8;

for (const name of ['many', 'deep', 'sparse', 'name with spaces', 'empty']) fs.mkdirSync(at(name));
fs.writeFileSync(at('large'), random);
for (const size of SIZES) {
  for (let copy = 1; copy <= COPIES; copy++) {
    const start = (size * copy) % 1_000_000;
    fs.writeFileSync(at('many', `${size}.${copy}`), random.subarray(start, start + size));
  }
}

let deep = at('deep');
for (let level = 1; level <= DEPTH; level++) {
  deep = join(deep, `level${level}`);
  fs.mkdirSync(deep);
  fs.writeFileSync(join(deep, 'note'), `level ${level}\n`);
}

const sparse = fs.openSync(at('sparse', 'holes'), 'w');
fs.ftruncateSync(sparse, 16 << 20);
fs.writeSync(sparse, 'in the middle', 8_000_000);
fs.closeSync(sparse);

fs.copyFileSync(at('many', '4097.1'), at('name with spaces', 'Ünïcode — имя'));
fs.symlinkSync('../many/4096.1', at('deep', 'symbolic'));
fs.linkSync(at('many', '65537.1'), at('deep', 'hard'));
fs.chmodSync(at('many', '512.1'), 0o640);
fs.chmodSync(at('many', '513.1'), 0o755);

// Written in two turns with an fsync between, as a program that saves does.
const appended = fs.openSync(at('appended'), 'w');
fs.writeSync(appended, random.subarray(0, 3_000_000));
fs.fsyncSync(appended);
fs.writeSync(appended, random.subarray(-3_000_000));
fs.closeSync(appended);
