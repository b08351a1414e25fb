/**
 * Where time goes: V8's own CPU profile of a piece of work, taken in this process, as the functions with the most time of their own and as sums by folder.
 * Node's own functions (mostly Buffer's) are a folder `node`, and beside it stands who called them. Memory likewise: where what is still held was allocated.
 */
import { type HeapProfiler, type Profiler, Session } from 'node:inspector'
import { fileURLToPath } from 'node:url'

const SAMPLING_INTERVAL_US = 200
const HEAP_SAMPLING_BYTES = 2048
const TOP = 40

interface Cost {
  readonly name: string
  own: number
  /** As `own`, and what Node's functions cost that it called. */
  charged: number
}

export interface Profile {
  readonly unit: 'ms' | 'KiB'
  readonly total: number
  readonly functions: readonly Cost[]
  readonly folders: readonly Cost[]
}

interface Frame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

/** This file stands in `bench/`, built or not. */
const root = new URL('..', import.meta.url).href

function placeOf(url: string): string {
  if (url === '') return ''
  if (url.startsWith(root)) return url.slice(root.length)
  const modules = url.lastIndexOf('node_modules/')
  if (modules >= 0) return url.slice(modules)
  return url.startsWith('file:') ? fileURLToPath(url) : url
}

function folderOf(frame: Frame): string {
  const place = placeOf(frame.url)
  if (place === '' && frame.functionName === '(garbage collector)') return 'garbage collection'
  if (place === '' || place.startsWith('node:')) return 'node'
  const parts = place.split('/')
  if (parts[0] === 'node_modules') return parts.slice(0, parts[1]!.startsWith('@') ? 3 : 2).join('/')
  return parts[0] === 'model' && parts.length > 2 ? `${parts[0]}/${parts[1]}` : parts[0]!
}

function nameOf(frame: Frame): string {
  const place = placeOf(frame.url)
  return place === '' ? frame.functionName : `${place}:${frame.lineNumber + 1} ${frame.functionName || '(anonymous)'}`
}

class Tally {
  private readonly functions = new Map<string, Cost>()
  private readonly folders = new Map<string, Cost>()
  private total = 0

  /** `caller` is the nearest frame that is not Node's, which may be `frame` itself. */
  add(frame: Frame, caller: Frame, amount: number): void {
    this.total += amount
    costOf(this.functions, nameOf(frame)).own += amount
    costOf(this.functions, nameOf(caller)).charged += amount
    costOf(this.folders, folderOf(frame)).own += amount
    costOf(this.folders, folderOf(caller)).charged += amount
  }

  profile(unit: Profile['unit'], perUnit: number): Profile {
    const ranked = (costs: ReadonlyMap<string, Cost>): readonly Cost[] =>
      [...costs.values()]
        .map(({ name, own, charged }) => ({ name, own: own / perUnit, charged: charged / perUnit }))
        .sort((a, b) => b.charged - a.charged || (a.name < b.name ? -1 : 1))
    return { unit, total: this.total / perUnit, functions: ranked(this.functions), folders: ranked(this.folders) }
  }
}

function costOf(costs: Map<string, Cost>, name: string): Cost {
  let cost = costs.get(name)
  if (cost === undefined) {
    cost = { name, own: 0, charged: 0 }
    costs.set(name, cost)
  }
  return cost
}

function isNodes(frame: Frame): boolean {
  return frame.url === '' || frame.url.startsWith('node:')
}

/** The caller to charge: the nearest frame above that is not Node's own; a frame without one is charged itself. */
function chargedTo(frame: Frame, parentCaller: Frame | undefined): Frame {
  return isNodes(frame) && frame.functionName !== '(garbage collector)' && parentCaller !== undefined ? parentCaller : frame
}

const notWork = ['(root)', '(program)', '(idle)']
/** The profiler's own doings. */
const profiler = new URL('profile', import.meta.url).href

/** Runs `work` and returns what it cost between its calls of `begin` and `end`. */
export function profileTime(work: (begin: () => void, end: () => void) => void): Profile {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US })
  let taken: Profiler.Profile | undefined
  const begin = (): void => session.post('Profiler.start')
  // Within one thread the answer comes before `post` returns.
  const end = (): void => {
    session.post('Profiler.stop', (error, answer) => {
      if (error === null) taken = answer.profile
    })
  }
  try {
    work(begin, end)
  } finally {
    session.disconnect()
  }
  if (taken === undefined) throw new Error('the inspector gave no profile')
  return tallyTime(taken)
}

function tallyTime({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Profile {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const callers = new Map<number, Frame | undefined>()
  const ownUs = new Map<number, number>()
  samples.forEach((id, index) => {
    ownUs.set(id, (ownUs.get(id) ?? 0) + (timeDeltas[index] ?? 0))
  })
  const tally = new Tally()
  const pending = nodes.slice(0, 1)
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    const frame = node.callFrame
    const caller = chargedTo(frame, callers.get(node.id))
    const amount = ownUs.get(node.id) ?? 0
    if (amount > 0 && !notWork.includes(frame.functionName) && !caller.url.startsWith(profiler)) tally.add(frame, caller, amount)
    for (const child of node.children ?? []) {
      callers.set(child, isNodes(caller) ? undefined : caller)
      pending.push(byId.get(child)!)
    }
  }
  return tally.profile('ms', 1000)
}

/** Runs `work`, which calls `hold` while all that counts is reachable, and returns where that was allocated. */
export function profileMemory(work: (hold: () => void) => void): Profile {
  const session = new Session()
  session.connect()
  session.post('HeapProfiler.enable')
  session.post('HeapProfiler.startSampling', { samplingInterval: HEAP_SAMPLING_BYTES })
  let taken: HeapProfiler.SamplingHeapProfile | undefined
  try {
    work(() => {
      session.post('HeapProfiler.collectGarbage')
      session.post('HeapProfiler.getSamplingProfile', (error, answer) => {
        if (error === null) taken = answer.profile
      })
    })
  } finally {
    session.post('HeapProfiler.stopSampling')
    session.disconnect()
  }
  if (taken === undefined) throw new Error('the inspector gave no profile')
  const tally = new Tally()
  const visit = (node: HeapProfiler.SamplingHeapProfileNode, parentCaller: Frame | undefined): void => {
    const caller = chargedTo(node.callFrame, parentCaller)
    if (node.selfSize > 0) tally.add(node.callFrame, caller, node.selfSize)
    for (const child of node.children) visit(child, isNodes(caller) ? undefined : caller)
  }
  visit(taken.head, undefined)
  return tally.profile('KiB', 1024)
}

export function renderProfile(title: string, { unit, total, functions, folders }: Profile): string {
  const line = ({ name, own, charged }: Cost): string =>
    `${charged.toFixed(1).padStart(9)} ${((100 * charged) / total).toFixed(1).padStart(5)} % ${own.toFixed(1).padStart(9)}  ${name}`
  const head = `${unit.padStart(9)}         ${'own'.padStart(9)}`
  return [
    `${title}: ${total.toFixed(0)} ${unit}, Node's own functions charged to their callers ("own": without them)`,
    '',
    head,
    ...folders.map(line),
    '',
    head,
    ...functions.slice(0, TOP).map(line),
    '',
  ].join('\n')
}
