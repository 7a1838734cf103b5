import {defineConfig} from 'vitest/config'

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 300_000,
    reporters: ['default', './test/support/count-reporter.ts'],
    projects: [
      // Most of what these do is wait for programs of their own.
      {extends: true, test: {name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/vm/**', 'test/browser/**'], maxWorkers: 2, sequence: {groupOrder: 0}}},
      // Machines share two cores with everything else: one test file at a time.
      {extends: true, test: {name: 'machines', include: ['test/vm/**/*.test.ts', 'test/browser/**/*.test.ts'], fileParallelism: false, sequence: {groupOrder: 1}}},
    ],
  },
})
