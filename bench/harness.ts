/**
 * What all measurements share: a figure is never taken alone. Every sample stands between two samples of the floor (see floor.ts), and the claim is the
 * ratio to those two, so that a machine that is slow for a while is slow for both. Over the samples: median, least and most.
 *
 * Time is processor time of this process, its collector's and compiler's threads included: a machine that others use too tells nothing by its wall clock.
 */
import type { Floor } from './floor.ts'
import { type Spread, spreadOf } from './statistics.ts'

/** One line of the table. */
export interface Row {
  readonly measurement: string
  /** What was varied, such as `1000 clients`. */
  readonly variant: string
  /** What one unit is, such as `message`; figures are per unit. */
  readonly per: string
  readonly measured: 'microseconds' | 'bytes' | 'events'
  readonly figure: Spread
  /** Cost of a message of the floor in µs beside these samples, and the figure in floors: only where time is measured. */
  readonly floor?: Spread
  readonly floors?: Spread
  readonly samples: number
  /** Whatever else is worth knowing, by name with its unit. */
  readonly notes: Readonly<Record<string, number | string>>
}

export interface Bench {
  readonly floor: Floor
  /** How often measurements that can be repeated are. */
  readonly rounds: number
  progress(text: string): void
}

/** A file each; `main.ts` has the list. */
export interface Measurement {
  readonly name: string
  /** One line for `--help`. */
  readonly summary: string
  run(bench: Bench): readonly Row[]
}

interface Sample {
  readonly microseconds: number
  readonly floor: number
}

/** Samples of one thing, each between two of the floor. */
export class Comparison {
  private readonly floor: Floor
  private readonly samples: Sample[] = []
  private lastFloor: number

  constructor(floor: Floor) {
    this.floor = floor
    this.lastFloor = floor.sample()
  }

  /** Takes a stretch of work that has just ended; what is measured next begins after this call. */
  add(units: number, tookMs: number): void {
    const after = this.floor.sample()
    this.samples.push({ microseconds: (tookMs * 1000) / units, floor: (this.lastFloor + after) / 2 })
    this.lastFloor = after
  }

  row(of: {
    readonly measurement: string
    readonly variant: string
    readonly per: string
    readonly notes?: (figure: Spread) => Row['notes']
    /** Only these of the samples: the first, and the one after the last. */
    readonly range?: readonly [number, number]
  }): Row {
    const samples = of.range === undefined ? this.samples : this.samples.slice(...of.range)
    const figure = spreadOf(samples.map(({ microseconds }) => microseconds))
    return {
      measurement: of.measurement,
      variant: of.variant,
      per: of.per,
      measured: 'microseconds',
      figure,
      floor: spreadOf(samples.map(({ floor }) => floor)),
      floors: spreadOf(samples.map(({ microseconds, floor }) => microseconds / floor)),
      samples: samples.length,
      notes: of.notes?.(figure) ?? {},
    }
  }
}

/** Processor time that this process has used so far. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

export function timeMs(run: () => void): number {
  const startedMs = processorMs()
  run()
  return processorMs() - startedMs
}
