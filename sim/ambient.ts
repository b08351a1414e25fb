/**
 * While a run goes on, whatever could bring in the real world's time, chance or order of execution throws: a second net behind the linter, which also catches
 * dependencies. This file alone may name those functions. Calls that Node makes by itself, such as `process.nextTick` under a `console.log`, pass.
 */

interface Replaced {
  readonly owner: object
  readonly name: string
  readonly replacement: unknown
}

const realDate = Date

function forbid(name: string): () => never {
  return () => {
    throw new Error(`${name} was called during a simulated run: time, randomness and order come from the host`)
  }
}

const noNow = forbid('Date.now')
const noNewDate = forbid('new Date()')

const guardedDate = new Proxy(realDate, {
  construct: (target, values: unknown[], newTarget) => (values.length === 0 ? noNewDate() : Reflect.construct(target, values, newTarget)),
  apply: forbid('Date'),
  get: (target, key, receiver) => (key === 'now' ? noNow : Reflect.get(target, key, receiver)),
})

const realNextTick = process.nextTick

function nextTickForNodeOnly(callback: (...values: unknown[]) => void, ...values: unknown[]): void {
  const caller = (new Error().stack ?? '').split('\n')[2] ?? ''
  if (!caller.includes('node:')) forbid('process.nextTick')()
  realNextTick(callback, ...values)
}

const replaced: readonly Replaced[] = [
  { owner: globalThis, name: 'Date', replacement: guardedDate },
  { owner: Math, name: 'random', replacement: forbid('Math.random') },
  { owner: globalThis, name: 'setTimeout', replacement: forbid('setTimeout') },
  { owner: globalThis, name: 'setInterval', replacement: forbid('setInterval') },
  { owner: globalThis, name: 'setImmediate', replacement: forbid('setImmediate') },
  { owner: globalThis, name: 'queueMicrotask', replacement: forbid('queueMicrotask') },
  { owner: process, name: 'nextTick', replacement: nextTickForNodeOnly },
]

/** Runs with the ambient functions out of reach, and puts them back whatever happens. May be nested. */
export function withoutAmbient<Result>(run: () => Result): Result {
  const descriptors = replaced.map(({ owner, name }) => Object.getOwnPropertyDescriptor(owner, name))
  for (const { owner, name, replacement } of replaced) {
    Object.defineProperty(owner, name, { value: replacement, configurable: true, writable: true, enumerable: false })
  }
  try {
    return run()
  } finally {
    replaced.forEach(({ owner, name }, index) => {
      const descriptor = descriptors[index]
      if (descriptor === undefined) delete (owner as Record<string, unknown>)[name]
      else Object.defineProperty(owner, name, descriptor)
    })
  }
}
