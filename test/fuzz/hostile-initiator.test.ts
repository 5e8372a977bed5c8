import { declareFuzz } from './fuzz-engine.js';
import { fuzzHostileInitiator } from './hostile-initiator.js';

declareFuzz('hostile-initiator', fuzzHostileInitiator);
