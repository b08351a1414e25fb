/**
 * Reads the copies of a volume's log past every fault and every word of the service, for the checks to compare.
 *
 * A log lies in segment files `v<volume>/log-<16-digit start offset>.<generation>`; where two generations lie side by side the lower one is whole. Only
 * durable bytes count. A copy may lack the head (trimmed) or the tail
 * (not caught up yet): the copies are given from the first offset that all of them have.
 */
import type { CopyLog } from '../checks/check.ts'
import type { World } from '../model/world.ts'

interface Segment {
  readonly start: number
  readonly bytes: Buffer
}

const SEGMENT = /^v\d+\/log-(\d+)\.(\d+)$/

function readSegments(world: World, machine: string, volume: number): readonly Segment[] {
  const files = world.durableFiles(machine, `v${volume}/log-`).flatMap((file) => {
    const match = SEGMENT.exec(file)
    return match === null ? [] : [{ file, start: Number(match[1]), generation: Number(match[2]) }]
  })
  files.sort((a, b) => a.start - b.start || a.generation - b.generation)
  return files
    .filter(({ start }, index) => start !== files[index - 1]?.start)
    .map(({ file, start }) => ({ start, bytes: world.durableBytes(machine, file) }))
}

/** The bytes from `offset` on, as far as segments follow one another without a hole. */
function bytesFrom(segments: readonly Segment[], offset: number): Buffer {
  const parts: Buffer[] = []
  let end = offset
  for (const { start, bytes } of segments) {
    if (start > end || start + bytes.length <= end) continue
    parts.push(bytes.subarray(end - start))
    end = start + bytes.length
  }
  return Buffer.concat(parts)
}

/** The copies of one volume, machine by machine; machines that hold none of it are left out. */
export function readCopies(world: World, volume: number): readonly CopyLog[] {
  const copies = world.machines
    .filter((machine) => machine.role === 'volume' || machine.role === 'broker')
    .map((machine) => ({ machine: machine.name, segments: readSegments(world, machine.name, volume) }))
    .filter(({ segments }) => segments.length > 0)
  const commonStart = Math.max(0, ...copies.map(({ segments }) => segments[0]!.start))
  return copies.map(({ machine, segments }) => ({ machine, bytes: bytesFrom(segments, commonStart) }))
}
