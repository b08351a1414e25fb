/**
 * How the copies of a volume are, as its owner sees them, for people and for whoever must not make matters worse: looked at once a lease interval, and when a copy goes or comes.
 *
 *     whole ⇄ slow        whole, slow → lost → resyncing → whole
 *
 * - lost: out of reach, or it takes nothing.
 * - resyncing: back, and behind; told again as it gets on.
 * - slow: in reach, but what was durable elsewhere `slowCopyMs` ago is not there yet. A majority goes on without it.
 * Of the volume as a whole: `whole`, `degraded` (a majority is left), `stopped`.
 */
import { emit } from '../events.ts'
import type { Host } from '../host.ts'
import type { CopyStream } from './copy-stream.ts'

type CopyState = 'whole' | 'slow' | 'lost' | 'resyncing'
type VolumeHealth = 'whole' | 'degraded' | 'stopped'

interface Watched {
  readonly stream: CopyStream
  readonly name: string
  state: CopyState
  /** It had to get here since then. */
  target: number
  targetSinceMs: number
}

export class CopyHealth {
  health: VolumeHealth = 'whole'
  private readonly host: Host
  private readonly volume: { readonly volume: number; readonly epoch: number; readonly durableOffset: number; readonly endOffset: number }
  private readonly slowCopyMs: number
  private readonly watched: readonly Watched[]

  constructor(
    host: Host,
    volume: CopyHealth['volume'],
    slowCopyMs: number,
    copies: readonly { readonly stream: CopyStream; readonly name: string }[],
  ) {
    this.host = host
    this.volume = volume
    this.slowCopyMs = slowCopyMs
    this.watched = copies.map(({ stream, name }) => ({ stream, name, state: 'whole', target: 0, targetSinceMs: 0 }))
  }

  look(): void {
    const nowMs = this.host.nowMs()
    for (const copy of this.watched) this.lookAt(copy, nowMs)
    const whole = this.watched.filter(({ state }) => state === 'whole').length
    const inUse = this.watched.filter(({ state }) => state === 'whole' || state === 'slow').length
    const copies = this.watched.length
    const health = whole === copies ? 'whole' : inUse * 2 > copies ? 'degraded' : 'stopped'
    if (health === this.health) return
    this.health = health
    if (!this.host.recording) return
    const { volume, epoch } = this.volume
    emit(this.host, { kind: 'volume-health-changed', volume, epoch, health, copiesWhole: whole, copies })
  }

  private lookAt(copy: Watched, nowMs: number): void {
    const { stream } = copy
    const behindBytes = Math.max(0, this.volume.endOffset - stream.acked)
    if (stream.acked >= copy.target) {
      copy.target = this.volume.durableOffset
      copy.targetSinceMs = nowMs
    }
    const before = copy.state
    const isSlow = stream.acked < copy.target && nowMs - copy.targetSinceMs >= this.slowCopyMs
    switch (stream.state) {
      case 'live':
        copy.state = isSlow ? 'slow' : 'whole'
        break
      case 'unreachable':
      case 'refused':
      case 'closed':
        copy.state = 'lost'
        break
      case 'cutting':
      case 'catching-up':
        // A copy that only reads what it lacks from another for a moment is not worth a word.
        if (before === 'lost' || before === 'resyncing' || isSlow) copy.state = 'resyncing'
        break
      default:
        // Prepared anew, which takes a moment; one whose disk does not answer stays here.
        if (before === 'whole' && isSlow) copy.state = 'slow'
    }
    const isNews = copy.state !== before || (copy.state === 'resyncing' && stream.acked < this.volume.durableOffset)
    if (!isNews || !this.host.recording) return
    const { volume, epoch } = this.volume
    emit(this.host, { kind: 'copy-health-changed', volume, epoch, copy: copy.name, health: copy.state, behindBytes })
  }
}
