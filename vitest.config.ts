import { defineConfig } from 'vitest/config'

const long = process.env.SQUALL_LONG === '1'

/** Three kinds of tests: `unit` beside what it tests, `properties` over whole runs, `e2e` over the command line and real sockets. */
export default defineConfig({
  test: {
    // Left to itself one core stays idle.
    maxWorkers: '100%',
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{sim,model,checks,scenarios,reports,live,bin,gallery,bench}/**/*.test.ts'],
          exclude: ['**/*.property.test.ts', '**/*.e2e.test.ts', '**/*.long.test.ts'],
          pool: 'threads',
          // A property takes seconds on a busy machine; what hangs is seen all the same.
          testTimeout: 30_000,
        },
      },
      { test: { name: 'properties', include: ['**/*.property.test.ts'], exclude: ['node_modules', 'dist'], testTimeout: 240_000 } },
      { test: { name: 'e2e', include: ['**/*.e2e.test.ts'], exclude: ['node_modules', 'dist'], testTimeout: 60_000 } },
      ...(long
        ? [{ test: { name: 'long', include: ['**/*.long.test.ts'], exclude: ['node_modules', 'dist'], testTimeout: 3_600_000 } }]
        : []),
    ],
  },
})
