import { declareFuzz } from './fuzz-engine.js';
import { fuzzHostileTarget } from './hostile-target.js';

declareFuzz('hostile-target', fuzzHostileTarget);
