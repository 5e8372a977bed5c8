import { declareFuzz } from './fuzz-engine.js';
import { fuzzTransmission } from './nbd-transmission.js';

declareFuzz('nbd-transmission', fuzzTransmission);
