/**
 * Which of some controllers acts, without a coordination service: the first in their order that reaches a majority of all, itself counted.
 *
 * Whoever hears of nobody before it that acts asks all the others, round by round; with a majority of answers in so many rounds that those before it would have been faster, it acts, and
 * says so each time it asks. So at rest one asks and the others only answer. Promised: one that reaches no majority does not act for longer than a round. Not promised: that never two act at
 * once (each of two that do not reach each other may reach a third), so what they do must not need that.
 * Datagrams from outside the service's own subnets are ignored.
 */
import type { Address, DatagramSocket, Host, Timer } from '../host.ts'
import { ports } from '../settings.ts'
import { bool, Reader, record, u32, utf8, Writer } from '../wire/codec.ts'
import { isOfService } from './vpc.ts'

export interface Controller {
  readonly name: string
  readonly zone: string
  /** Of its machine. */
  readonly host: string
}

/** Tells our datagrams from strangers'. */
const ASK_MARK = 0x73716731
const ANSWER_MARK = 0x73716732
const field = record({ mark: u32, round: u32, name: utf8, acting: bool })

export interface ElectionOwner {
  /** A round begins. @returns how long it is until the next */
  onRound(acting: boolean): number
  /** It acts from now on, or does no more. */
  onActing(acting: boolean): void
}

export class ControllerElection {
  private readonly host: Host
  private readonly others: readonly Controller[]
  private readonly index: number
  private readonly silenceMs: number
  private readonly owner: ElectionOwner
  private readonly socket: DatagramSocket
  private timer: Timer
  private round = 0
  /** Names of those who answered in the round at hand. */
  private answered = new Set<string>()
  /** Of those who answered in the round before it. */
  private reachedBefore: ReadonlySet<string> = new Set()
  private roundsWithMajority = 0
  private isActing = false

  /**
   * @param controllers all of them, this one too, in the order in which they may act
   * @param silenceMs how long one that acts may be silent: longer than any of its rounds
   */
  constructor(host: Host, controllers: readonly Controller[], silenceMs: number, owner: ElectionOwner) {
    this.host = host
    this.others = controllers.filter(({ name }) => name !== host.machine)
    this.index = controllers.findIndex(({ name }) => name === host.machine)
    this.silenceMs = silenceMs
    this.owner = owner
    this.socket = host.bind(ports.instanceGroup, (from, bytes) => this.onDatagram(from, bytes))
    this.timer = host.setTimer(0, () => this.beginRound())
  }

  get acting(): boolean {
    return this.isActing
  }

  /** Whether another one answered, in this round or the one before it. */
  reaches(name: string): boolean {
    return this.answered.has(name) || this.reachedBefore.has(name)
  }

  private beginRound(): void {
    const total = this.others.length + 1
    const hasMajority = (this.answered.size + 1) * 2 > total
    this.roundsWithMajority = hasMajority ? this.roundsWithMajority + 1 : 0
    // A round of patience for each one before it; a single controller needs to ask nobody.
    this.become(hasMajority && (total === 1 || this.roundsWithMajority > this.index))
    this.reachedBefore = this.answered
    this.answered = new Set()
    this.round++
    for (const { host } of this.others) this.send({ host, port: ports.instanceGroup }, ASK_MARK, this.round)
    this.timer = this.host.setTimer(this.owner.onRound(this.isActing), () => this.beginRound())
  }

  private become(acting: boolean): void {
    if (this.isActing === acting) return
    this.isActing = acting
    this.owner.onActing(acting)
  }

  private onDatagram(from: Address, bytes: Buffer): void {
    if (!isOfService(from.host)) return
    const reader = new Reader(bytes)
    const { mark, round, name, acting } = field.read(reader)
    const sender = this.others.find((other) => other.name === name)
    if (!reader.complete() || sender === undefined) return
    if (mark === ASK_MARK) this.send(from, ANSWER_MARK, round)
    else if (mark === ANSWER_MARK && round === this.round) this.answered.add(name)
    else return
    if (acting && this.isBefore(name)) this.stepBack()
  }

  private isBefore(name: string): boolean {
    return this.others.findIndex((other) => other.name === name) < this.index
  }

  /** Somebody before us acts: we only answer, until he is silent. */
  private stepBack(): void {
    this.become(false)
    this.roundsWithMajority = 0
    this.answered.clear()
    this.timer.cancel()
    this.timer = this.host.setTimer(this.silenceMs, () => this.beginRound())
  }

  private send(target: Address, mark: number, round: number): void {
    this.socket.send(target, encode(mark, round, this.host.machine, this.isActing))
  }
}

function encode(mark: number, round: number, name: string, acting: boolean): Buffer {
  const writer = new Writer().begin()
  field.write(writer, { mark, round, name, acting })
  return writer.finish()
}

/** The question of a controller of that name, which says that it acts. */
export function encodeQuestion(name: string): Buffer {
  return encode(ASK_MARK, 1, name, true)
}
