// The import rule of docs/architecture.md: who may import whom, checked in `npm test`.
const LAYERS = {
  common: [],
  observe: ['common'],
  socket: ['common'],

  // Vocabularies: byte layouts, names, tables, and the seams between the roles.
  block: ['common'],
  scsi: ['common'],
  iscsi: ['common'],

  // Roles.
  nbd: ['block', 'socket', 'observe', 'common'],
  disk: ['block', 'scsi', 'common'],
  initiator: ['scsi', 'iscsi', 'observe', 'common'],
  iser: ['iscsi', 'transport', 'observe', 'common'],
  transport: ['socket', 'observe', 'common'],
  store: ['scsi', 'iscsi', 'observe', 'common'],
  'target/unit': ['store', 'scsi', 'iscsi', 'observe', 'common'],
  'target/session': ['target/unit', 'store', 'scsi', 'iscsi', 'transport', 'observe', 'common'],
};

const pattern = (path) => `^src/${path}/`;

const layerRules = Object.entries(LAYERS).map(([layer, allowed]) => ({
  name: `layer-${layer.replace('/', '-')}`,
  comment: `src/${layer} may import only itself and: ${allowed.join(', ') || 'nothing of ours'}`,
  severity: 'error',
  from: { path: `^src/${layer}/` },
  to: { path: '^src/', pathNot: [`^src/${layer}/`, ...allowed.map(pattern)] },
}));

module.exports = {
  forbidden: [
    ...layerRules,
    {
      name: 'gateway-not-cli',
      severity: 'error',
      from: { path: '^src/gateway/' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'library-is-for-others',
      comment: 'src/library names what the package exports; inside, one imports from where it is.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/library/' },
      to: { path: '^src/library/' },
    },
    {
      name: 'no-cycles',
      comment:
        'Not of types either: what knows each other is one thing, or needs an interface between.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'transport-by-verbs',
      comment: 'Who moves data by RDMA knows no transport, only what all of them can do.',
      severity: 'error',
      from: { path: '^src/(iser|target)/' },
      to: { path: '^src/transport/', pathNot: '^src/transport/verbs\\.ts$' },
    },
    {
      name: 'wire-is-pure',
      comment: 'Byte layouts know no node module.',
      severity: 'error',
      from: { path: 'wire\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'sockets-in-few-places',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: [
          '^src/nbd/(server|socket|tls)\\.ts$',
          '^src/transport/iwarp/',
          '^src/socket/data-socket\\.ts$',
          // It only asks whether a text is an IP address.
          '^src/common/address\\.ts$',
        ],
      },
      to: { path: '^(node:)?(net|tls|dgram)$' },
    },
    {
      name: 'no-dev-dependency',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev'] },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
