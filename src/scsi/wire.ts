/**
 * SCSI bytes. One import shows every layout: operation codes and statuses, CDBs, the commands that this project knows,
 * and parameter data by what it is about.
 */
export * from './cdb.js';
export * from './command-formats.js';
export * from './log-pages.js';
export * from './mode.js';
export * from './opcodes.js';
export * from './pages.js';
export * from './parameter-data.js';
export * from './reservation-data.js';
export * from './supported-functions.js';
