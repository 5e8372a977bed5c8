import { MemoryFabric } from '../../../src/transport/memory/fabric.js';
import { transportSuite } from '../../compliance/transport-suite.js';

transportSuite('memory', () => {
  const fabric = new MemoryFabric();
  return {
    active: fabric.createTransport(),
    passive: fabric.createTransport(),
    address: { host: 'fabric', port: 0 },
  };
});
