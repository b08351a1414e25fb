/**
 * What a topic shard does once a minute: forgets idle publishers, finishes a segment that is old enough, trims those that are past the retention, and says how old the shard is where no
 * message has said so.
 *
 * The log can only be trimmed up to a checkpoint. On a busy shard there is one by then; a quiet one writes one for it, when all that stands before the last one is past.
 * What is retained outlives the log that it stands in: it is written again at the end before the log is trimmed.
 */
import type { Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import type { Volume } from '../volume/volume.ts'
import { type MessageHead, peekMessage, readMessages } from './message-index.ts'
import { type AgedRecord, agedRecord, type MessageRecord, RECORD_VERSION, topicRecordType } from './topic-records.ts'
import type { TopicState } from './topic-state.ts'

export interface HousekeepingOwner {
  readonly volume: Volume
  readonly state: TopicState
  readonly isServing: boolean
  ageMs(): number
  /** Logs a message for the register of its topic alone. */
  retain(message: Pick<MessageRecord, 'epoch' | 'ageMs' | 'storedAtMs' | 'message'>, head: MessageHead): void
  /** What stands in the log so far is to be in a checkpoint. */
  writeCheckpoint(): void
  /** The log begins later now, and queues with it. */
  onTrimmed(): void
}

const INTERVAL_MS = 60_000
/** Retained messages that are read at a time to be written again. */
const CARRIED_AT_ONCE = 64
const CARRIED_BYTES = 4 << 20

export class TopicHousekeeping {
  private readonly host: Host
  private readonly owner: HousekeepingOwner
  private readonly settings: ServiceSettings['broker']
  private timer: Timer | undefined

  constructor(host: Host, owner: HousekeepingOwner, settings: ServiceSettings['broker']) {
    this.host = host
    this.owner = owner
    this.settings = settings
  }

  /** At full minutes of the shard's age, whoever owns it: a shard that moves again and again would else never come round to it. */
  start(): void {
    this.timer = this.host.setTimer(INTERVAL_MS - (this.owner.ageMs() % INTERVAL_MS), () => {
      this.keepHouse()
      this.start()
    })
  }

  close(): void {
    this.timer?.cancel()
  }

  finishSegmentIfDue(): void {
    const { volume, state } = this.owner
    state.index.sealIfDue(volume, this.owner.ageMs(), this.settings.segmentAgeMs)
  }

  private keepHouse(): void {
    const { volume, state } = this.owner
    const { retentionMs } = this.settings
    const ageMs = this.owner.ageMs()
    if (ageMs - state.ageMs >= INTERVAL_MS) this.logAge({ ageMs: Math.floor(ageMs) })
    state.fences.forgetIdle(ageMs, retentionMs, (clientId) => state.queues.has(clientId))
    this.finishSegmentIfDue()
    const expired = state.index.expire(ageMs, retentionMs)
    if (expired > volume.markOffset) this.owner.writeCheckpoint()
    const keepFrom = Math.min(expired, volume.markOffset)
    if (keepFrom > volume.trimOffset) this.carryRetained(keepFrom, () => this.trim(keepFrom))
  }

  private logAge(record: AgedRecord): void {
    this.owner.volume.append(topicRecordType.aged, RECORD_VERSION, (writer) => agedRecord.write(writer, record))
    this.owner.state.applyAged(record)
  }

  /** Writes what is retained and stands below `offset` again. */
  private carryRetained(offset: number, done: () => void): void {
    const { volume, state } = this.owner
    const old = state.retained.before(offset).slice(0, CARRIED_AT_ONCE)
    if (old.length === 0) {
      volume.whenDurable(done)
      return
    }
    readMessages(
      volume,
      old.map((each) => each.offset),
      CARRIED_BYTES,
      (found) => {
        // Unread they stay where they are, and so does the log, until the next time.
        if (found === undefined || !this.owner.isServing) return
        for (const { offset: from, storedAtMs, ageMs, message } of found) {
          const head = peekMessage(message)
          const kept = state.retained.get(head.topic)
          if (kept?.offset === from) this.owner.retain({ epoch: kept.epoch, ageMs, storedAtMs, message }, head)
        }
        this.carryRetained(offset, done)
      },
    )
  }

  private trim(keepFrom: number): void {
    const { volume, state } = this.owner
    if (!this.owner.isServing) return
    volume.trim(keepFrom)
    for (const queue of state.queues.values()) queue.dropBefore(keepFrom)
    this.owner.onTrimmed()
  }
}
