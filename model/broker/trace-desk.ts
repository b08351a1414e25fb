/**
 * Makes the traces that a topic shard is asked for: one at a time, since each may read a good part of the log, in the order in which they were asked for. One whose asker is gone is called off.
 */
import type { Host } from '../host.ts'
import type { Volume } from '../volume/volume.ts'
import type { Link } from '../wire/link.ts'
import { type Trace, traceMessage } from './message-trace.ts'
import type { TopicState } from './topic-state.ts'

export interface TraceDeskOwner {
  readonly volume: Volume
  readonly state: TopicState
  readonly isServing: boolean
}

type Done = (trace: Trace | 'none' | 'unreadable') => void

interface Question {
  readonly link: Link
  readonly generation: number
  readonly offset: number
  readonly done: Done
}

/** Whoever comes when so many wait is to ask again. */
const MOST_WAITING = 64

export class TraceDesk {
  private readonly host: Host
  private readonly owner: TraceDeskOwner
  private waiting: Question[] = []
  private isBusy = false

  constructor(host: Host, owner: TraceDeskOwner) {
    this.host = host
    this.owner = owner
  }

  ask(link: Link, offset: number, done: Done): void {
    this.waiting = this.waiting.filter(isAskerThere)
    if (this.waiting.length >= MOST_WAITING) {
      done('unreadable')
      return
    }
    this.waiting.push({ link, generation: link.generation, offset, done })
    this.answerNext()
  }

  /** The shard is not served here any more: the next owner may be asked at once. */
  close(): void {
    const { waiting } = this
    this.waiting = []
    for (const { done } of waiting) done('unreadable')
  }

  private answerNext(): void {
    if (this.isBusy) return
    this.waiting = this.waiting.filter(isAskerThere)
    const question = this.waiting.shift()
    if (question === undefined) return
    this.isBusy = true
    const { owner } = this
    const isWanted = () => owner.isServing && isAskerThere(question)
    traceMessage(this.host, owner.volume, owner.state, question.offset, isWanted, (trace) => {
      this.isBusy = false
      question.done(trace)
      this.answerNext()
    })
  }
}

function isAskerThere({ link, generation }: Question): boolean {
  return link.up && link.generation === generation
}
