/**
 * The byte layouts of SCSI, exported from one place: operation codes, status codes, CDBs, the commands that this
 * project knows, and parameter data. Sense data is in sense.ts.
 */
export * from './cdb.js';
export * from './command-formats.js';
export * from './log-pages.js';
export * from './lun.js';
export * from './mode.js';
export * from './opcodes.js';
export * from './pages.js';
export * from './parameter-data.js';
export * from './reservation-data.js';
export * from './supported-functions.js';
