/**
 * Fault points in the code of one machine's process that a fault has named: such a point takes its rarer branch, always or with some probability, by draws of its own.
 * Apart from the points that a world strikes at random all over (`SimOptions.perturbations`).
 */
import { drawAt, drawKey, isWithin } from './random.ts'

interface Point {
  readonly probabilities: number[]
  readonly key: number
  asked: number
}

export class FaultPoints {
  private readonly points = new Map<string, Point>()
  private readonly seed: number
  private readonly machine: string

  constructor(seed: number, machine: string) {
    this.seed = seed
    this.machine = machine
  }

  hold(name: string, probability: number): () => void {
    let point = this.points.get(name)
    if (point === undefined) {
      point = { probabilities: [], key: drawKey(this.seed, `fault point/${this.machine}/${name}`), asked: 0 }
      this.points.set(name, point)
    }
    const { probabilities } = point
    probabilities.push(probability)
    return () => {
      probabilities.splice(probabilities.indexOf(probability), 1)
    }
  }

  strikes(name: string): boolean {
    const point = this.points.get(name)
    if (point === undefined || point.probabilities.length === 0) return false
    return isWithin(drawAt(point.key, point.asked++), Math.max(...point.probabilities))
  }
}
