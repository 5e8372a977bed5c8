import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../common/errors.js';
import { LOCK_PAUSE_MS, LOCK_TIMEOUT_MS, LOCK_TRIES_MAX } from './limits.js';

/** How an attempt to lock a file ended. `unknown`: it cannot be locked here, for a reason. */
export type LockOutcome =
  | { readonly type: 'locked' }
  | { readonly type: 'taken' }
  | { readonly type: 'unknown'; readonly reason: string };

/**
 * Locks an open file against other processes: alone to write it, or together with other readers. Node has no flock(2), so
 * util-linux's `flock` takes the lock on an inherited descriptor. Such a lock belongs to the open file, not to the
 * process that took it: it stays when `flock` ends, and goes with the last descriptor of it, which is ours. So it cannot
 * outlive this process, however that ends, and it holds for the file under whatever name.
 */
export async function lockFile(fd: number, { shared }: { shared: boolean }): Promise<LockOutcome> {
  for (let tries = 1; ; tries++) {
    const outcome = await tryLock(fd, shared);
    if (outcome.type !== 'taken' || tries >= LOCK_TRIES_MAX) return outcome;
    // A process that was killed may have left a tool behind that still punches a hole, with its descriptor.
    await pause(LOCK_PAUSE_MS);
  }
}

function tryLock(fd: number, shared: boolean): Promise<LockOutcome> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = spawn('flock', ['-n', shared ? '-s' : '-x', '3'], {
        stdio: ['ignore', 'ignore', 'pipe', fd],
        // English, whatever the user's language: it goes into our log.
        env: { ...process.env, LC_ALL: 'C' },
        timeout: LOCK_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
    } catch (error) {
      // Node throws where the system has no room for another process (ENOMEM); other failures come as events.
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
      // Only of a lock that is taken does it say nothing.
      else if (status === 1 && complaint === '') resolve({ type: 'taken' });
      else {
        const reason = complaint.trim() || `flock ended with ${status ?? 'a signal'}`;
        resolve({ type: 'unknown', reason });
      }
    });
  });
}
