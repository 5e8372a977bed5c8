#!/usr/bin/env node
import './stdio.js';

// After stdio.js: some of Node's own modules look at process.stderr when they are loaded.
await import('./program.js');
