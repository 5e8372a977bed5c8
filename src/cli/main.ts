#!/usr/bin/env node
import './stdio.js';

// Only now: some of node's own modules look at process.stderr when they are loaded.
await import('./program.js');
