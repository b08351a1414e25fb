/**
 * The sending half of a connection's end: window, backlog, and what becomes of bytes on a bad way.
 *
 * Flow control: up to a window of bytes may be on the way or unread at the other end; what is beyond waits in the backlog. The room
 * that a reader makes is known to the sender at once, except where the sender waits for it or where the way back is cut.
 *
 * Trouble: what a rule drops stays in the backlog and is sent again after 200 ms, 400 ms and so on; what arrived at a machine without power, or could not be
 * acknowledged, makes the sender ask again at the same times. Without any answer for the network's `giveUpUs` the connection ends by `timeout`. A connection on
 * which nothing is sent notices nothing.
 *
 * A connection that has gone silent (its address or its mapping is gone) is one on which everything is dropped for good.
 *
 * Left out: segments and their sizes, congestion control, RTT estimation, keepalive of TCP. One-way loss delays what is
 * lost and what comes after it, never acknowledgements (see link-rules.ts).
 */
import type { Address, Connection, ConnectionHandler } from '../model/host.ts'
import { ChunkQueue } from './chunk-queue.ts'
import type { ConnectionEnd } from './connection.ts'
import { DATA, DRAIN, FIN, kindsPerMachine, PROBE, RESET, RETRANSMIT } from './event-kinds.ts'
import { dropped, luckiestDraw, type PacketKind, type Verdict } from './link-rules.ts'
import type { Machine } from './machine.ts'
import type { EventTarget } from './queue.ts'
import { drawAt } from './random.ts'
import type { Route } from './route.ts'

/** Bytes on the way or unread, per direction. */
export const windowBytes = 64 * 1024
/** Bytes in the backlog above which `write` says to hold back. */
const highWaterBytes = 64 * 1024
/** A chunk that does not fit is cut only where this much of it does. */
const leastPartBytes = windowBytes / 4

const firstRetransmissionUs = 200_000
const lastRetransmissionUs = 60_000_000

/** A chunk is cut in two where the low bits of its draw are below this: about 2 %. */
const cutMask = 0xfff
const cutBelow = 82
/** The second part comes up to this much later, or at once. */
const latestSecondPartMask = 0xff
const cutSalt = 0x3c6ef372
const lossSalt = 0x510e527f
/** Loss draws a chunk may need, one each time it is sent. */
const lossDrawsPerChunk = 64

/** Bits of `flags`. */
export const readingPaused = 1
export const finReceived = 2
const drainWanted = 4
export const windowUpdateDue = 8
export const readDue = 16
const finAnnounced = 32
/** The program has closed it, and is told nothing more. */
export const forsaken = 64
/** Goes in one segment with the chunk before it: not lost by itself. */
const ridesAlong = 128

/**
 * `connecting`: the SYN is on its way. `closing`: the program closed it, and the kernel still sends what was written.
 * `relaying`: this end has been joined with another one, and passes on what was on its way to it.
 */
export type EndState = 'connecting' | 'open' | 'closing' | 'closed' | 'relaying'

/** What a sender remembers while something is not through. */
class Trouble {
  rounds = 0
  timeoutUs = firstRetransmissionUs
  sinceUs: number
  /** The first chunk of the backlog was dropped. */
  blocked = false
  /** Something arrived, or was lost with the machine it arrived at, and no word came back. */
  unanswered = false
  unansweredBytes = 0

  constructor(sinceUs: number) {
    this.sinceUs = sinceUs
  }
}

export abstract class Sender implements Connection, EventTarget {
  handler: ConnectionHandler
  readonly remote: Address
  readonly machine: Machine
  state: EndState
  peer: ConnectionEnd | undefined = undefined
  route: Route
  /** When the last of what this end sent arrives. */
  lastArrivalUs = 0
  readonly drawKey: number

  protected flags = 0
  protected inFlightBytes = 0
  protected backlog: ChunkQueue | undefined = undefined
  protected trouble: Trouble | undefined = undefined
  private drawCount = 0

  constructor(machine: Machine, state: 'connecting' | 'open', remote: Address, route: Route, drawKey: number, handler: ConnectionHandler) {
    this.machine = machine
    this.state = state
    this.remote = remote
    this.route = route
    this.drawKey = drawKey
    this.handler = handler
  }

  abstract write(bytes: Buffer): boolean
  abstract pause(): void
  abstract resume(): void
  abstract close(): void
  abstract reset(): void
  abstract fire(kind: number, payload: unknown, argument: number): void
  abstract describe(kind: number, payload: unknown, argument: number): string
  /** No answer came in all the time that there was. */
  abstract unanswered(): void
  protected abstract becomeClosed(): void
  /** From now on nothing passes between the two ends, and neither is told. */
  abstract goSilent(): void

  /** The delay of the next packet of the handshake, from this end's own draws. */
  handshakeDelayUs(): number {
    return this.route.delayUs(drawAt(this.drawKey, this.drawCount++))
  }

  /** What becomes of a packet that is sent now. */
  verdictTo(machine: Machine, round: number, kind: PacketKind = 'stream'): Verdict {
    const { rules } = this.machine.network
    if (!rules.inForce) return 0
    const draw = drawAt(this.drawKey ^ lossSalt, this.drawCount * lossDrawsPerChunk + round)
    return this.route.verdict(rules, this.machine, machine, draw, kind)
  }

  protected codeOf(kind: number): number {
    return this.machine.index * kindsPerMachine + kind
  }

  /** Sends a chunk, unless a rule drops it. */
  protected transmit(bytes: Buffer, writtenAtUs: number): boolean {
    const { machine, route } = this
    const peer = this.peer!
    const { kernel } = machine
    const draw = drawAt(this.drawKey, this.drawCount)
    let arrivalUs = kernel.nowUs + kernel.workUs + route.delayUs(draw)
    if (machine.network.rules.inForce || route.broken) {
      const verdict = this.impededVerdict()
      if (verdict === dropped) return false
      arrivalUs += verdict
    }
    this.drawCount++
    if (arrivalUs < this.lastArrivalUs) arrivalUs = this.lastArrivalUs
    const size = bytes.length
    this.inFlightBytes += size
    const code = peer.machine.index * kindsPerMachine + DATA
    if ((draw & cutMask) < cutBelow && size > 1) {
      const cutDraw = drawAt(this.drawKey ^ cutSalt, this.drawCount)
      const cutAt = 1 + ((cutDraw >>> 8) % (size - 1))
      kernel.schedule(arrivalUs, code, peer, bytes.subarray(0, cutAt), writtenAtUs)
      if ((cutDraw & 1) === 1) arrivalUs += (cutDraw >>> 1) & latestSecondPartMask
      kernel.schedule(arrivalUs, code, peer, bytes.subarray(cutAt), writtenAtUs)
    } else kernel.schedule(arrivalUs, code, peer, bytes, writtenAtUs)
    this.lastArrivalUs = arrivalUs
    return true
  }

  private impededVerdict(): Verdict {
    this.passTranslator()
    if (this.route.broken) {
      this.route.turnAway(this, this.machine)
      return dropped
    }
    if ((this.flags & ridesAlong) !== 0)
      return this.route.verdict(this.machine.network.rules, this.machine, this.peer!.machine, luckiestDraw, 'stream')
    return this.verdictTo(this.peer!.machine, this.trouble === undefined ? 0 : this.trouble.rounds % lossDrawsPerChunk)
  }

  /** Whether nothing gets from here to the other end; what is lost by chance counts as getting there. */
  protected isCut(): boolean {
    const { machine, route } = this
    return machine.network.rules.inForce && route.isCut(machine.network.rules, machine, this.peer!.machine)
  }

  /** A translator of addresses on the way may have forgotten the connection, if nothing was sent for long. */
  private passTranslator(): void {
    const { machine, peer, route } = this
    const { rules } = machine.network
    if (!rules.inForce || peer === undefined || route.broken) return
    const idleUs = machine.kernel.nowUs - Math.max(this.lastArrivalUs, peer.lastArrivalUs)
    const isBehind = rules.isForgotten(machine, peer.machine, idleUs)
    if (isBehind) this.goSilent()
    else if (rules.isForgotten(peer.machine, machine, idleUs)) peer.goSilent()
  }

  protected enqueue(bytes: Buffer, writtenAtUs: number): boolean {
    const waited = this.backlog !== undefined
    this.backlog ??= new ChunkQueue()
    this.backlog.push(bytes, writtenAtUs)
    if (!waited && this.state === 'open') this.pump()
    if (this.backlog === undefined || this.backlog.bytes <= highWaterBytes) return true
    this.flags |= drainWanted
    return false
  }

  /** Sends what the window lets out of the backlog, and after the last of it the FIN, if the program has closed. */
  protected pump(): void {
    if (this.state !== 'open' && this.state !== 'closing') return
    if (this.trouble?.blocked === true) return
    const isEmpty = this.backlog === undefined || this.sendBacklog(this.backlog)
    this.flags &= ~ridesAlong
    if (!isEmpty) return
    this.backlog = undefined
    if (this.state === 'closing') this.sendFin()
    else if ((this.flags & drainWanted) !== 0) {
      this.flags &= ~drainWanted
      const { kernel } = this.machine
      kernel.schedule(kernel.departureUs(), this.codeOf(DRAIN), this, undefined, 0)
    }
  }

  /** @returns whether all of it is sent. */
  private sendBacklog(backlog: ChunkQueue): boolean {
    for (let chunk = backlog.first(); chunk !== undefined; chunk = backlog.first()) {
      const { bytes, writtenAtUs } = chunk
      const room = windowBytes - this.inFlightBytes
      const fits = bytes.length <= room
      if (!fits && room < leastPartBytes) return false
      if (!this.transmit(fits ? bytes : bytes.subarray(0, room), writtenAtUs)) {
        this.block()
        return false
      }
      if (fits) backlog.takeFirst()
      else backlog.cutFirst(room)
      this.flags |= ridesAlong
    }
    return true
  }

  protected sendFin(): void {
    if (this.trouble?.blocked === true) return
    this.passTranslator()
    const { machine, route } = this
    if ((this.flags & finAnnounced) === 0) {
      this.flags |= finAnnounced
      route.passing(this, machine, 'ended')
    }
    const { kernel } = machine
    const peer = this.peer!
    let arrivalUs = kernel.departureUs() + route.delayUs(drawAt(this.drawKey, this.drawCount))
    if (machine.network.rules.inForce || route.broken) {
      const verdict = this.impededVerdict()
      if (verdict === dropped) {
        this.block()
        return
      }
      arrivalUs += verdict
    }
    this.drawCount++
    if (arrivalUs < this.lastArrivalUs) arrivalUs = this.lastArrivalUs
    this.lastArrivalUs = arrivalUs
    kernel.schedule(arrivalUs, peer.codeOf(FIN), peer, undefined, 0)
    this.becomeClosed()
  }

  /** RST is never sent again: where the way is cut, the other end does not learn of it. */
  protected sendReset(): void {
    const { machine, peer } = this
    if (peer === undefined || peer.state === 'closed') return
    this.passTranslator()
    const { route } = this
    route.passing(this, machine, 'reset')
    if (route.broken || this.isCut()) return
    const { kernel } = machine
    const arrivalUs = kernel.departureUs() + route.typicalUs
    kernel.schedule(Math.max(arrivalUs, this.lastArrivalUs), peer.codeOf(RESET), peer, undefined, 0)
  }

  /** Something was dropped: it is tried again, and again later. */
  protected block(): void {
    this.troubled().blocked = true
  }

  private troubled(): Trouble {
    if (this.trouble !== undefined) return this.trouble
    const { kernel } = this.machine
    const trouble = new Trouble(kernel.nowUs)
    this.trouble = trouble
    kernel.schedule(kernel.nowUs + trouble.timeoutUs, this.codeOf(RETRANSMIT), this, trouble, 0)
    return trouble
  }

  protected retransmit(trouble: Trouble): void {
    const { kernel, network } = this.machine
    const { giveUpUs } = network
    if (kernel.nowUs - trouble.sinceUs >= giveUpUs) {
      this.trouble = undefined
      if (this.state === 'closing') this.becomeClosed()
      else this.unanswered()
      return
    }
    trouble.rounds++
    trouble.timeoutUs = Math.min(trouble.timeoutUs * 2, lastRetransmissionUs)
    if (trouble.blocked) {
      trouble.blocked = false
      const sentBefore = this.drawCount
      this.pump()
      if (this.trouble === undefined) return
      if (this.drawCount !== sentBefore) {
        trouble.timeoutUs = firstRetransmissionUs
        if (!trouble.unanswered) trouble.sinceUs = kernel.nowUs
      }
    }
    if (trouble.unanswered) this.probe()
    if (trouble.blocked || trouble.unanswered) {
      const againAtUs = Math.min(kernel.nowUs + trouble.timeoutUs, trouble.sinceUs + giveUpUs)
      kernel.schedule(againAtUs, this.codeOf(RETRANSMIT), this, trouble, 0)
    } else this.trouble = undefined
  }

  private probe(): void {
    const { kernel } = this.machine
    const peer = this.peer!
    const verdict = this.impededVerdict()
    if (verdict === dropped) return
    kernel.schedule(kernel.nowUs + this.route.typicalUs + verdict, peer.codeOf(PROBE), peer, undefined, 0)
  }

  protected acknowledged(): void {
    const { trouble } = this
    if (trouble === undefined) return
    this.inFlightBytes -= trouble.unansweredBytes
    trouble.unansweredBytes = 0
    trouble.unanswered = false
    trouble.sinceUs = this.machine.kernel.nowUs
    if (!trouble.blocked) this.trouble = undefined
    this.pump()
  }

  /** What this end has sent got no answer. */
  protected leftUnanswered(size: number): void {
    if (this.state !== 'open' && this.state !== 'closing') return
    const trouble = this.troubled()
    trouble.unanswered = true
    trouble.unansweredBytes += size
  }
}
