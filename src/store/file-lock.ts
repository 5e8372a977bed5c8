import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../common/errors.js';
import { LOCK_PAUSE_MS, LOCK_TIMEOUT_MS, LOCK_TRIES_MAX } from './limits.js';

/** The result of an attempt to lock a file. `unknown`: the file cannot be locked, because of `reason`. */
export type LockOutcome =
  | { readonly type: 'locked' }
  | { readonly type: 'taken' }
  | { readonly type: 'unknown'; readonly reason: string };

/**
 * Locks an open file against other processes: exclusively for a writer, or shared with other readers. Node has no
 * flock(2), so util-linux's `flock` takes the lock on an inherited descriptor. Such a lock belongs to the open file,
 * not to the process that took it: it remains after `flock` has ended, and ends with the last descriptor of the open
 * file, which is ours. So the lock cannot outlive this process, and it holds for every name of the file.
 */
export async function lockFile(fd: number, { shared }: { shared: boolean }): Promise<LockOutcome> {
  for (let tries = 1; ; tries++) {
    const outcome = await tryLock(fd, shared);
    if (outcome.type !== 'taken' || tries >= LOCK_TRIES_MAX) return outcome;
    // A killed process may have left a tool that still punches a hole and holds a descriptor of the file.
    await pause(LOCK_PAUSE_MS);
  }
}

function tryLock(fd: number, shared: boolean): Promise<LockOutcome> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = spawn('flock', ['-n', shared ? '-s' : '-x', '3'], {
        stdio: ['ignore', 'ignore', 'pipe', fd],
        // The message goes into our log, so it must be English.
        env: { ...process.env, LC_ALL: 'C' },
        timeout: LOCK_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
    } catch (error) {
      // Node throws when the system has no memory for another process (ENOMEM). Other failures are events.
      resolve({ type: 'unknown', reason: messageOf(error) });
      return;
    }
    let complaint = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (complaint.length < 200) complaint += text;
    });
    child.on('error', ({ message }) => resolve({ type: 'unknown', reason: message }));
    child.on('close', (status) => {
      if (status === 0) resolve({ type: 'locked' });
      // flock prints no message only when another process has the lock.
      else if (status === 1 && complaint === '') resolve({ type: 'taken' });
      else {
        const reason = complaint.trim() || `flock ended with ${status ?? 'a signal'}`;
        resolve({ type: 'unknown', reason });
      }
    });
  });
}
