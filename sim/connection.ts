/**
 * One end of a connection: TCP as a program sees it, without segments. A chunk that is written arrives by one event, in order, cut in two now and
 * then; a program must not rely on where.
 *
 * Flow control: up to a window of bytes may be on the way or unread at the other end; what is beyond waits in the sender's backlog. The room
 * that a reader makes is known to the sender at once, except where the sender waits for it or where the way back is cut.
 *
 * Trouble: what a rule drops stays in the backlog and is sent again after 200 ms, 400 ms and so on; what arrived at a machine without power, or could not be
 * acknowledged, makes the sender ask again at the same times. Without any answer for `giveUpMs` the connection ends by `timeout`. A machine that
 * runs and does not know the connection answers with RST. A connection on which nothing is sent notices nothing.
 *
 * Left out: segments and their sizes, congestion control, RTT estimation, keepalive of TCP, half-closing. One-way loss delays what is
 * lost and what comes after it, never acknowledgements (see link-rules.ts).
 */
import type { Address, CloseReason, Connection, ConnectionHandler } from '../model/host.ts'
import { ChunkQueue } from './chunk-queue.ts'
import type { Runnable } from './compute.ts'
import {
  ACCEPT,
  ACKNOWLEDGE,
  DATA,
  DRAIN,
  FIN,
  GONE,
  kindNames,
  kindsPerMachine,
  OPENED,
  PROBE,
  READ,
  REFUSED,
  RESET,
  RETRANSMIT,
  SYN,
  SYN_AGAIN,
  WINDOW,
} from './event-kinds.ts'
import { dropped, type Verdict } from './link-rules.ts'
import type { Machine } from './machine.ts'
import type { SimListener } from './network.ts'
import type { EventTarget } from './queue.ts'
import { drawAt } from './random.ts'
import type { Route } from './route.ts'

/** Bytes on the way or unread, per direction. */
export const windowBytes = 64 * 1024
/** Bytes in the backlog above which `write` says to hold back. */
export const highWaterBytes = 64 * 1024
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

const readingPaused = 1
const finReceived = 2
const drainWanted = 4
const windowUpdateDue = 8
const readDue = 16
const finAnnounced = 32
/** The program has closed it, and is told nothing more. */
const forsaken = 64

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

export const silentHandler: ConnectionHandler = { onData: () => {}, onClose: () => {} }

export class ConnectionEnd implements Connection, EventTarget, Runnable {
  handler: ConnectionHandler
  readonly remote: Address
  readonly machine: Machine
  state: EndState
  peer: ConnectionEnd | undefined = undefined
  route: Route
  /** When the last of what this end sent arrives. */
  lastArrivalUs = 0
  /** Names this end to observers; 0 where nobody observes. */
  connectionId = 0
  /** Neighbours in the machine's list of connections. */
  next: ConnectionEnd | undefined = undefined
  previous: ConnectionEnd | undefined = undefined
  readonly drawKey: number

  private drawCount = 0
  private inFlightBytes = 0
  private flags = 0
  private backlog: ChunkQueue | undefined = undefined
  private unread: ChunkQueue | undefined = undefined
  private trouble: Trouble | undefined = undefined

  constructor(machine: Machine, state: 'connecting' | 'open', remote: Address, route: Route, drawKey: number, handler: ConnectionHandler) {
    this.machine = machine
    this.state = state
    this.remote = remote
    this.route = route
    this.drawKey = drawKey
    this.handler = handler
  }

  write(bytes: Buffer): boolean {
    const { state } = this
    const size = bytes.length
    if (size === 0 || (state !== 'open' && state !== 'connecting') || (this.flags & forsaken) !== 0) return true
    const { kernel, tap } = this.machine
    const writtenAtUs = kernel.nowUs + kernel.workUs
    if (this.connectionId !== 0) tap.sent(this.connectionId, bytes, writtenAtUs)
    if (state === 'open' && this.backlog === undefined) {
      if (size + this.inFlightBytes <= windowBytes) {
        if (this.transmit(bytes, writtenAtUs)) return true
        this.block()
      }
    }
    return this.enqueue(bytes, writtenAtUs)
  }

  pause(): void {
    this.flags |= readingPaused
  }

  resume(): void {
    if ((this.flags & readingPaused) === 0) return
    this.flags &= ~readingPaused
    if (this.unread !== undefined || (this.flags & finReceived) !== 0) this.scheduleRead()
  }

  close(): void {
    const { state } = this
    if ((state !== 'open' && state !== 'connecting') || (this.flags & forsaken) !== 0) return
    if (state === 'connecting' && this.backlog === undefined) {
      this.reset()
      return
    }
    this.forsake('ended')
    this.unread = undefined
    if (state === 'connecting') return
    this.state = 'closing'
    if (this.backlog === undefined) this.sendFin()
  }

  reset(): void {
    if (this.state === 'closed' || this.state === 'relaying') return
    this.forsake('reset')
    this.sendReset()
    this.becomeClosed()
  }

  fire(kind: number, payload: unknown, argument: number): void {
    if (this.state === 'relaying') {
      this.relay(kind, payload, argument)
      return
    }
    switch (kind) {
      case SYN:
        this.machine.network.synArrived(this, payload as Address, argument)
        return
      case SYN_AGAIN:
        this.machine.network.sendSyn(this, payload as Address, argument)
        return
      case WINDOW:
        this.flags &= ~windowUpdateDue
        this.pump()
        return
      case RETRANSMIT:
        if (this.trouble === payload) this.retransmit(this.trouble!)
        return
      case PROBE:
        this.probed()
        return
      case ACKNOWLEDGE:
        this.acknowledged()
        return
      default:
    }
    if (this.state === 'closed') {
      if (kind === DATA) this.answerStray((payload as Buffer).length)
      return
    }
    const { processor } = this.machine
    if (processor.isReady()) this.run(kind, payload, argument)
    else processor.wait(this, kind, payload, argument)
  }

  /** The part that enters the process. */
  run(kind: number, payload: unknown, argument: number): void {
    switch (kind) {
      case DATA:
        this.arrived(payload as Buffer, argument)
        return
      case READ:
        this.read()
        return
      case OPENED:
        this.opened()
        return
      case ACCEPT:
        this.accepted(payload as SimListener)
        return
      case FIN:
        if (this.state === 'relaying') this.relay(kind, payload, argument)
        else if (this.state === 'open' && (this.unread !== undefined || (this.flags & readingPaused) !== 0)) this.flags |= finReceived
        else this.end('ended')
        return
      case RESET:
        if (this.state === 'relaying') this.relay(kind, payload, argument)
        else this.end('reset')
        return
      case REFUSED:
        this.end('refused')
        return
      case GONE:
        this.end('timeout')
        return
      case DRAIN:
        if (this.state !== 'open' || this.handler.onDrain === undefined) return
        this.machine.enter()
        this.handler.onDrain(this)
        this.machine.leave()
        return
      default:
        throw new Error(`no connection takes an event of kind ${kind}`)
    }
  }

  describe(kind: number, payload: unknown): string {
    const bytes = kind === DATA ? `, ${(payload as Buffer).length} bytes ${(payload as Buffer).toString('hex', 0, 32)}` : ''
    return `${kindNames[kind]} at a connection (${this.state}) to ${this.remote.host}:${this.remote.port}${bytes}`
  }

  /** Its machine's kernel is gone, or forgets it: nobody is told but the observers. */
  vanish(): void {
    this.forsake('reset')
    this.becomeClosed()
  }

  /** An injected RST, as if the other end had sent it. */
  injectReset(): void {
    if (this.state === 'closed' || this.state === 'relaying') return
    const { kernel } = this.machine
    kernel.schedule(kernel.nowUs, this.codeOf(RESET), this, undefined, 0)
  }

  /** The SYN got no answer in all its tries. */
  unanswered(): void {
    const { processor } = this.machine
    if (processor.isReady()) this.run(GONE, undefined, 0)
    else processor.wait(this, GONE, undefined, 0)
  }

  /** The delay of the next packet of the handshake, from this end's own draws. */
  handshakeDelayUs(): number {
    return this.route.delayUs(drawAt(this.drawKey, this.drawCount++))
  }

  /** What becomes of a packet that is sent now. */
  verdictTo(machine: Machine, round: number): Verdict {
    const { rules } = this.machine.network
    if (!rules.inForce) return 0
    return this.route.verdict(rules, this.machine, machine, drawAt(this.drawKey ^ lossSalt, this.drawCount * lossDrawsPerChunk + round))
  }

  /**
   * Makes this end, which belongs to a load balancer, pass on to `target`, by `onward`, whatever still arrives. Its peer, which sends that, sends by `whole`
   * from now on, straight to `target`: nothing before all that is passed on.
   */
  join(target: ConnectionEnd, onward: Route, whole: Route): void {
    const { kernel } = this.machine
    const { unread } = this
    const sender = this.peer!
    const wasEnded = (this.flags & finReceived) !== 0
    this.becomeClosed()
    this.state = 'relaying'
    this.peer = target
    this.route = onward
    sender.peer = target
    sender.route = whole
    sender.lastArrivalUs = Math.max(sender.lastArrivalUs, kernel.nowUs) + onward.typicalUs + 1
    for (let chunk = unread?.takeFirst(); chunk !== undefined; chunk = unread?.takeFirst()) this.relay(DATA, chunk.bytes, chunk.writtenAtUs)
    if (wasEnded) this.relay(FIN, undefined, 0)
  }

  private relay(kind: number, payload: unknown, argument: number): void {
    const { kernel } = this.machine
    const target = this.peer!
    if (kind === FIN || kind === RESET) target.route.passing(this, this.machine, kind === FIN ? 'ended' : 'reset')
    kernel.schedule(kernel.nowUs + this.route.typicalUs, target.codeOf(kind), target, payload, argument)
  }

  private codeOf(kind: number): number {
    return this.machine.index * kindsPerMachine + kind
  }

  /** Sends a chunk, unless a rule drops it. */
  private transmit(bytes: Buffer, writtenAtUs: number): boolean {
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
    if (this.route.broken) {
      this.route.turnAway(this, this.machine)
      return dropped
    }
    return this.verdictTo(this.peer!.machine, this.trouble === undefined ? 0 : this.trouble.rounds % lossDrawsPerChunk)
  }

  /** Whether nothing gets from here to the other end; what is lost by chance counts as getting there. */
  private isCut(): boolean {
    const { machine, route } = this
    return machine.network.rules.inForce && route.isCut(machine.network.rules, machine, this.peer!.machine)
  }

  private enqueue(bytes: Buffer, writtenAtUs: number): boolean {
    const waited = this.backlog !== undefined
    this.backlog ??= new ChunkQueue()
    this.backlog.push(bytes, writtenAtUs)
    if (!waited && this.state === 'open') this.pump()
    if (this.backlog === undefined || this.backlog.bytes <= highWaterBytes) return true
    this.flags |= drainWanted
    return false
  }

  /** Sends what the window lets out of the backlog, and after the last of it the FIN, if the program has closed. */
  private pump(): void {
    const { backlog } = this
    if (this.state !== 'open' && this.state !== 'closing') return
    while (backlog !== undefined) {
      if (this.trouble?.blocked === true) return
      const chunk = backlog.first()
      if (chunk === undefined) break
      const room = windowBytes - this.inFlightBytes
      if (chunk.bytes.length <= room) {
        if (!this.transmit(chunk.bytes, chunk.writtenAtUs)) {
          this.block()
          return
        }
        backlog.takeFirst()
      } else if (room >= leastPartBytes) {
        if (!this.transmit(chunk.bytes.subarray(0, room), chunk.writtenAtUs)) {
          this.block()
          return
        }
        backlog.cutFirst(room)
      } else return
    }
    this.backlog = undefined
    if (this.state === 'closing') this.sendFin()
    else if ((this.flags & drainWanted) !== 0) {
      this.flags &= ~drainWanted
      const { kernel } = this.machine
      kernel.schedule(kernel.departureUs(), this.codeOf(DRAIN), this, undefined, 0)
    }
  }

  private sendFin(): void {
    const { machine, route } = this
    if (this.trouble?.blocked === true) return
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
  private sendReset(): void {
    const { machine, route, peer } = this
    if (peer === undefined || peer.state === 'closed') return
    route.passing(this, machine, 'reset')
    if (route.broken || this.isCut()) return
    const { kernel } = machine
    const arrivalUs = kernel.departureUs() + route.typicalUs
    kernel.schedule(Math.max(arrivalUs, this.lastArrivalUs), peer.codeOf(RESET), peer, undefined, 0)
  }

  /** The program wants no more of it; only then are observers told that it was its own doing. */
  private forsake(reason: 'ended' | 'reset'): void {
    if ((this.flags & forsaken) !== 0) return
    this.flags |= forsaken
    if (this.connectionId !== 0) this.machine.tap.closed(this.connectionId, reason, 'self', this.machine.kernel.departureUs())
  }

  private becomeClosed(): void {
    this.state = 'closed'
    this.backlog = undefined
    this.unread = undefined
    this.trouble = undefined
    this.machine.connections.remove(this)
  }

  /** Something was dropped: it is tried again, and again later. */
  private block(): void {
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

  private retransmit(trouble: Trouble): void {
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

  /** The other end asks whether what it sent has come. */
  private probed(): void {
    const { machine } = this
    const peer = this.peer!
    if (this.state === 'closed') {
      this.answerStray(0)
      return
    }
    if (this.isCut()) return
    machine.kernel.schedule(machine.kernel.nowUs + this.route.typicalUs, peer.codeOf(ACKNOWLEDGE), peer, undefined, 0)
  }

  private acknowledged(): void {
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
  private leftUnanswered(size: number): void {
    if (this.state !== 'open' && this.state !== 'closing') return
    const trouble = this.troubled()
    trouble.unanswered = true
    trouble.unansweredBytes += size
  }

  /** Something came for a connection that is not known here: a running kernel says so, a machine without power does not. */
  private answerStray(size: number): void {
    const { machine } = this
    const peer = this.peer!
    if (!machine.isOn) {
      peer.leftUnanswered(size)
      return
    }
    if (peer.state === 'closed') return
    if (this.route.broken || this.isCut()) {
      peer.leftUnanswered(size)
      return
    }
    const { kernel } = machine
    const arrivalUs = kernel.nowUs + this.route.typicalUs
    kernel.schedule(Math.max(arrivalUs, this.lastArrivalUs), peer.codeOf(RESET), peer, undefined, 0)
  }

  private arrived(bytes: Buffer, writtenAtUs: number): void {
    if (this.state === 'open') {
      if (this.unread === undefined && (this.flags & readingPaused) === 0) this.consume(bytes, writtenAtUs)
      else {
        this.unread ??= new ChunkQueue()
        this.unread.push(bytes, writtenAtUs)
      }
    } else if (this.state === 'closing') this.makeRoom(bytes.length)
    else if (this.state === 'relaying') this.relay(DATA, bytes, writtenAtUs)
    else if (this.state === 'closed') this.answerStray(bytes.length)
  }

  private consume(bytes: Buffer, writtenAtUs: number): void {
    const { machine } = this
    this.makeRoom(bytes.length)
    if (this.connectionId !== 0) machine.tap.received(this.connectionId, bytes, machine.kernel.nowUs, writtenAtUs)
    machine.enter()
    this.handler.onData(this, bytes)
    machine.leave()
  }

  /** The reader took so many bytes: the sender may send as many more. */
  private makeRoom(size: number): void {
    const sender = this.peer!
    const { machine } = this
    if (machine.network.rules.inForce && this.isCut()) {
      sender.leftUnanswered(size)
      return
    }
    sender.inFlightBytes -= size
    if (sender.backlog === undefined || (sender.flags & windowUpdateDue) !== 0) return
    sender.flags |= windowUpdateDue
    machine.kernel.schedule(machine.kernel.nowUs + this.route.typicalUs, sender.codeOf(WINDOW), sender, undefined, 0)
  }

  private scheduleRead(): void {
    if ((this.flags & readDue) !== 0) return
    this.flags |= readDue
    const { kernel } = this.machine
    kernel.schedule(kernel.nowUs, this.codeOf(READ), this, undefined, 0)
  }

  private read(): void {
    this.flags &= ~readDue
    if (this.state !== 'open' || (this.flags & readingPaused) !== 0) return
    const { unread } = this
    const chunk = unread?.takeFirst()
    if (unread?.first() === undefined) this.unread = undefined
    if (this.unread !== undefined || (chunk !== undefined && (this.flags & finReceived) !== 0)) this.scheduleRead()
    if (chunk !== undefined) this.consume(chunk.bytes, chunk.writtenAtUs)
    else if ((this.flags & finReceived) !== 0) this.end('ended')
  }

  private opened(): void {
    if (this.state !== 'connecting') return
    const { machine } = this
    if ((this.flags & forsaken) !== 0) {
      this.state = 'closing'
      this.pump()
      return
    }
    this.state = 'open'
    if (this.connectionId !== 0) machine.tap.opened(this.connectionId, machine.kernel.nowUs)
    machine.history.connectionOpened(machine, this.peer!.machine)
    machine.enter()
    this.handler.onOpen?.(this)
    machine.leave()
    this.pump()
  }

  private accepted(listener: SimListener): void {
    if (this.state !== 'open') return
    const { machine } = this
    if (!listener.isOpen) {
      this.reset()
      return
    }
    machine.observeAccepted(this)
    machine.enter()
    const handler = listener.accept(this)
    // `forward` inside `accept` has put its own handler there.
    if (this.handler === silentHandler) {
      if (handler !== undefined) this.handler = handler
      else if (this.state === 'open') this.reset()
    }
    machine.leave()
  }

  /** The connection is gone by the other end's or the network's doing. */
  private end(reason: CloseReason): void {
    const { machine } = this
    if (this.state === 'closed' || this.state === 'relaying') return
    this.becomeClosed()
    if ((this.flags & forsaken) !== 0) return
    if (this.connectionId !== 0) machine.tap.closed(this.connectionId, reason, 'peer', machine.kernel.nowUs)
    machine.history.connectionClosed(machine, this.peer?.machine, reason)
    machine.enter()
    this.handler.onClose(this, reason)
    machine.leave()
  }
}
