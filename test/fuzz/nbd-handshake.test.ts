import { declareFuzz } from './fuzz-engine.js';
import { fuzzHandshake } from './nbd-handshake.js';

declareFuzz('nbd-handshake', fuzzHandshake);
