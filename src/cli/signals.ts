/** SIGHUP asks a server to read its files again. */
export function onHangup(action: () => void): void {
  process.on('SIGHUP', action);
}

/** SIGUSR2 asks for the counters; SIGUSR1 is Node's own, for its debugger. */
export function onCountsAsked(action: () => void): void {
  process.on('SIGUSR2', action);
}

/**
 * For when everything runs: before that, a signal ends the process as it is. Resolves at the first SIGTERM or SIGINT; a
 * second one ends the process at once.
 */
export function stopRequested(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const signals: NodeJS.Signals[] = ['SIGTERM', 'SIGINT'];
    let asked = false;
    for (const signal of signals) {
      process.on(signal, () => {
        if (asked) process.exit(1);
        asked = true;
        resolve(signal);
      });
    }
  });
}
