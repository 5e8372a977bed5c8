import tseslint from 'typescript-eslint';

const LATER = 'Use soon, atTurnEnd or nextTurn of common/later.ts.';

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.cache/'] },
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', '*.config.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Use named exports.' },
        { selector: 'TSEnumDeclaration', message: 'Use an `as const` object.' },
        {
          selector: "CallExpression[callee.object.name='Buffer'][callee.property.name='concat']",
          message: 'Buffer.concat copies; parse in place.',
        },
      ],
    },
  },
  {
    // Byte offsets in codecs and fixtures in tests are known to exist; an assertion there is noise.
    files: ['src/**/wire.ts', 'src/iscsi/iser-header.ts', 'test/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    // A file is one idea, a function one step of it. Test files are as long as what they test.
    files: ['src/**/*.ts'],
    rules: {
      'max-lines': ['error', 500],
      'max-lines-per-function': ['error', 60],
      'no-restricted-globals': [
        'error',
        ...['queueMicrotask', 'setImmediate'].map((name) => ({ name, message: LATER })),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'nextTick', message: LATER },
      ],
    },
  },
  {
    // Exceptions, each with what keeps it whole.
    files: [
      // One switch over all operation codes.
      'src/target/unit/disk.ts',
      // One switch over all task management functions.
      'src/target/session/task-management.ts',
    ],
    rules: { 'max-lines-per-function': ['error', 70] },
  },
  {
    // A disk's and a connection's whole life of a request, with all that can interrupt it.
    files: ['src/disk/scsi-disk.ts', 'src/nbd/transmission.ts'],
    rules: { 'max-lines': ['error', 530] },
  },
  {
    files: ['src/common/later.ts'],
    rules: { 'no-restricted-globals': 'off', 'no-restricted-properties': 'off' },
  },
  {
    // Tests and benchmarks are off the data path, and may gather bytes the simple way.
    files: ['test/**/*.ts', 'bench/**/*.ts', '*.config.ts'],
    rules: { 'no-restricted-syntax': 'off', 'no-console': 'off' },
  },
);
