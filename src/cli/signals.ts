/** Calls `action` at SIGHUP, which asks a server to read its files again. */
export function onHangup(action: () => void): void {
  process.on('SIGHUP', action);
}

/** Calls `action` at SIGUSR2, which asks for the counters. SIGUSR1 is not free: it starts Node's debugger. */
export function onCountsAsked(action: () => void): void {
  process.on('SIGUSR2', action);
}

/**
 * Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. Called when the server runs: until
 * then, a signal ends the process at once.
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
