/**
 * What the log is told late about queues: how far subscribers have acknowledged, what expired, and that nobody is connected to a queue. At most a second late, many queues in one
 * record. Losing the newest of it costs repetitions, never a message.
 *
 * Not late is the word that somebody is connected again, which has to be in the log before anything is sent, and that of places dropped unseen, before anything after them is.
 */
import type { Host, Timer } from '../host.ts'
import type { Volume } from '../volume/volume.ts'
import type { SessionQueue } from './session-queue.ts'
import { type AbsentRecord, absentRecord, expiredRecord, positionsRecord, RECORD_VERSION, topicRecordType } from './topic-records.ts'
import type { TopicState } from './topic-state.ts'

export interface QueueJournalOwner {
  readonly volume: Volume
  readonly state: TopicState
  /** Wall clock, for traces. */
  wallMs(): number
  /** The log has grown. */
  onLogged(): void
}

const INTERVAL_MS = 1000

export class QueueJournal {
  private readonly host: Host
  private readonly owner: QueueJournalOwner
  private readonly acknowledged = new Set<SessionQueue>()
  private expired: { readonly queue: SessionQueue; readonly sequence: number }[] = []
  /** With the first place that was not sent. */
  private readonly detached = new Map<SessionQueue, number>()
  private timer: Timer | undefined

  constructor(host: Host, owner: QueueJournalOwner) {
    this.host = host
    this.owner = owner
  }

  close(): void {
    this.timer?.cancel()
  }

  onAcknowledged(queue: SessionQueue): void {
    this.acknowledged.add(queue)
    this.writeLater()
  }

  /** Once this is durable, the queue may go on. */
  onExpired(queue: SessionQueue, places: readonly number[]): void {
    for (const sequence of places) this.expired.push({ queue, sequence })
    this.logExpired()
    queue.holdUntil(queue.base, this.logPositions([queue]))
    this.acknowledged.delete(queue)
  }

  /** A place that the proxy had: late, as its acknowledgement would be. */
  onExpiredAtProxy(queue: SessionQueue, sequence: number): void {
    this.expired.push({ queue, sequence })
    this.onAcknowledged(queue)
  }

  onDetached(queue: SessionQueue): void {
    this.detached.set(queue, queue.maybeSentUpTo + 1)
    this.writeLater()
  }

  /** Somebody is about to be connected: once this is durable, anything may be sent. */
  onAttaching(queue: SessionQueue): void {
    if (queue.absentFrom > 0) this.logAbsence({ sessions: [{ clientId: queue.clientId, from: 0 }] })
  }

  private writeLater(): void {
    this.timer ??= this.host.setTimer(INTERVAL_MS, () => this.write())
  }

  private write(): void {
    this.timer = undefined
    const absent = [...this.detached].filter(([queue]) => this.isKept(queue) && queue.attachment === undefined)
    this.detached.clear()
    if (absent.length > 0) this.logAbsence({ sessions: absent.map(([{ clientId }, from]) => ({ clientId, from })) })
    this.logExpired()
    const acknowledged = [...this.acknowledged].filter((queue) => this.isKept(queue))
    this.acknowledged.clear()
    if (acknowledged.length > 0) this.logPositions(acknowledged)
    this.owner.onLogged()
  }

  private logPositions(queues: readonly SessionQueue[]): number {
    const record = { positions: queues.map((queue) => queue.position()), atMs: this.owner.wallMs() }
    return this.owner.volume.append(topicRecordType.positions, RECORD_VERSION, (writer) => positionsRecord.write(writer, record))
  }

  /** Before anything else in the log counts these places among the acknowledged ones: a position, or a checkpoint. */
  logExpired(): void {
    const expired = this.expired.filter(({ queue }) => this.isKept(queue))
    this.expired = []
    if (expired.length === 0) return
    const { volume } = this.owner
    const places = expired.map(({ queue: { clientId }, sequence }) => ({ clientId, sequence }))
    const record = { places, atMs: this.owner.wallMs() }
    volume.append(topicRecordType.expired, RECORD_VERSION, (writer) => expiredRecord.write(writer, record))
    volume.whenDurable(() => {
      for (const { queue, sequence } of expired) queue.expiryLogged(sequence)
    })
  }

  private isKept(queue: SessionQueue): boolean {
    return this.owner.state.queues.get(queue.clientId) === queue
  }

  private logAbsence(record: AbsentRecord): void {
    this.owner.volume.append(topicRecordType.absent, RECORD_VERSION, (writer) => absentRecord.write(writer, record))
    this.owner.state.applyAbsent(record)
  }
}
