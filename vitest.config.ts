import { defineConfig } from 'vitest/config';

// Three suites: "unit" needs nothing but node; "interop" drives the built program with real clients; "kernel" drives it
// against Linux kernels in virtual machines.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/interop/**', 'test/kernel/**'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'interop',
          include: ['test/interop/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts'],
          globalSetup: ['test/kernel/global-setup.ts'],
          testTimeout: 240_000,
          hookTimeout: 120_000,
          // A guest takes two processors and two gigabytes.
          fileParallelism: false,
        },
      },
    ],
  },
});
