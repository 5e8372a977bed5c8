// Runs in the guest and does what the host asks over a virtio serial port: one JSON message per line, each way.
// From the host:  {id, exec: {argv, stdin, env, cwd}} · {id, signal: {of, name}} · {id, files: [[call, ...], ...]} ·
//                 {id, mark: text}
// To the host:    {ready: true} · {id, stdout|stderr: base64} · {id, done: {...}} · {id, failed: text} ·
//                 {kernel: text}, a record of /dev/kmsg as the kernel wrote it
// The host hanging up ends the agent, and with it the guest.
import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, readFileSync, readdirSync } from 'node:fs';
import * as fs from 'node:fs';
import { createInterface } from 'node:readline';

const PORT_NAME = 'iser-nbd-lab';
const running = new Map();
const ports = '/sys/class/virtio-ports';
const port = readdirSync(ports).find(
  (name) => readFileSync(`${ports}/${name}/name`, 'utf8').trim() === PORT_NAME,
);
// A port can be opened once.
const fd = fs.openSync(`/dev/${port}`, 'r+');
const output = createWriteStream('', { fd, autoClose: false });
const tell = (message) => output.write(`${JSON.stringify(message)}\n`);

const FILE_CALLS = {
  mkdir: (path) => void fs.mkdirSync(path, { recursive: true }),
  // What configfs makes of a value is decided in one write.
  write: (path, text) => fs.writeFileSync(path, text),
  read: (path) => fs.readFileSync(path, 'utf8'),
  list: (path) => fs.readdirSync(path),
  exists: (path) => fs.existsSync(path),
  link: (target, path) => fs.symlinkSync(target, path),
  unlink: (path) => fs.unlinkSync(path),
  rmdir: (path) => fs.rmdirSync(path),
  remove: (path) => fs.rmSync(path, { recursive: true, force: true }),
  /** Bytes that a file takes on its file system. */
  allocated: (path) => fs.statSync(path).blocks * 512,
};

function exec(id, { argv, stdin, env, cwd }) {
  const [name, ...args] = argv;
  const child = spawn(name, args, {
    cwd: cwd ?? '/',
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  running.set(id, child);
  child.stdin.on('error', () => undefined).end(stdin ?? '');
  for (const stream of ['stdout', 'stderr']) {
    child[stream].on('data', (bytes) => tell({ id, [stream]: bytes.toString('base64') }));
  }
  child.once('error', (error) => finish({ id, failed: error.message }));
  child.once('close', (status, signal) => finish({ id, done: { status, signal } }));
  const finish = (message) => {
    if (running.delete(id)) tell(message);
  };
}

function files(id, calls) {
  const results = [];
  for (const [call, ...args] of calls) {
    try {
      results.push(FILE_CALLS[call](...args) ?? null);
    } catch (error) {
      tell({ id, failed: `${call} ${args.join(' ')}: ${error.message}` });
      return;
    }
  }
  tell({ id, done: { results } });
}

function obey({ id, ...request }) {
  if (request.exec) exec(id, request.exec);
  else if (request.files) files(id, request.files);
  else if (request.signal) {
    running.get(request.signal.of)?.kill(request.signal.name);
    tell({ id, done: {} });
  } else if (request.mark) {
    // Comes back as a record after everything the kernel had said; one without a line's end waits for the next.
    fs.writeFileSync('/dev/kmsg', `<6>${request.mark}\n`);
    tell({ id, done: {} });
  }
}

const input = createReadStream('', { fd, autoClose: false });
const lines = createInterface({ input, crlfDelay: Infinity });
lines.on('line', (line) => obey(JSON.parse(line)));
lines.on('close', () => process.exit(0));

followKernelLog(fs.openSync('/dev/kmsg', 'r'), Buffer.alloc(16384));
tell({ ready: true });

/** Each read of /dev/kmsg gives one record; EPIPE says only that older ones were overwritten. */
function followKernelLog(kmsg, buffer) {
  fs.read(kmsg, buffer, 0, buffer.length, null, (error, bytes) => {
    if (error !== null && error.code !== 'EPIPE') throw error;
    if (error === null) tell({ kernel: buffer.toString('utf8', 0, bytes) });
    followKernelLog(kmsg, buffer);
  });
}
