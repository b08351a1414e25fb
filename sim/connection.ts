/**
 * One end of a connection: TCP as a program sees it, without segments. A chunk that is written arrives by one event, in order, cut in two now and
 * then; a program must not rely on where. What is sent, and how it gets through, is in `sender.ts`; here is what arrives, and how a connection begins and ends.
 *
 * A reader that pauses leaves bytes unread, and the end of the stream behind them. A machine that runs and does not know a connection answers
 * what comes for it with RST; a machine without power does not answer.
 *
 * Left out: half-closing. A load balancer's joint (`forwarding.ts`) leaves ends behind that pass on what was on its way to them.
 */
import type { Address, CloseReason, ConnectionHandler } from '../model/host.ts'
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
import type { SimListener } from './network.ts'
import { type Route, SilentRoute } from './route.ts'
import { finReceived, forsaken, readDue, readingPaused, Sender, windowBytes, windowUpdateDue } from './sender.ts'

export const silentHandler: ConnectionHandler = { onData: () => {}, onClose: () => {} }

export class ConnectionEnd extends Sender implements Runnable {
  /** Names this end to observers; 0 where nobody observes. */
  connectionId = 0
  /** Neighbours in the machine's list of connections. */
  next: ConnectionEnd | undefined = undefined
  previous: ConnectionEnd | undefined = undefined

  private unread: ChunkQueue | undefined = undefined

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

  /** Whose address it was, or whose mapping, has gone: the far end still reaches a load balancer between the two. */
  goSilent(): void {
    const { peer } = this
    if (this.state === 'closed' || this.state === 'relaying' || this.route instanceof SilentRoute) return
    const { route } = this
    route.silence(this)
    this.route = new SilentRoute(route, false)
    if (peer !== undefined && peer.state !== 'relaying') peer.route = new SilentRoute(route, true)
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

  /**
   * Makes this end, which belongs to a load balancer, pass on to `target`, by `onward`, whatever still arrives. Its peer, which sends that, sends
   * straight to `target` from now on: nothing that would arrive before what is passed on. Nothing arrives before `notBeforeUs`, when `target` is open.
   */
  join(target: ConnectionEnd, onward: Route, notBeforeUs: number): void {
    const { kernel } = this.machine
    const { unread } = this
    const sender = this.peer!
    const wasEnded = (this.flags & finReceived) !== 0
    this.becomeClosed()
    this.state = 'relaying'
    this.peer = target
    this.route = onward
    sender.peer = target
    this.lastArrivalUs = notBeforeUs
    sender.lastArrivalUs = Math.max(Math.max(sender.lastArrivalUs, kernel.nowUs) + onward.typicalUs, notBeforeUs) + 1
    for (let chunk = unread?.takeFirst(); chunk !== undefined; chunk = unread?.takeFirst()) this.relay(DATA, chunk.bytes, chunk.writtenAtUs)
    if (wasEnded) this.relay(FIN, undefined, 0)
  }

  private relay(kind: number, payload: unknown, argument: number): void {
    const { kernel } = this.machine
    const target = this.peer!
    if (kind === FIN || kind === RESET) target.route.passing(this, this.machine, kind === FIN ? 'ended' : 'reset')
    kernel.schedule(Math.max(kernel.nowUs + this.route.typicalUs, this.lastArrivalUs), target.codeOf(kind), target, payload, argument)
  }

  /** The program wants no more of it; only then are observers told that it was its own doing. */
  private forsake(reason: 'ended' | 'reset'): void {
    if ((this.flags & forsaken) !== 0) return
    this.flags |= forsaken
    if (this.connectionId !== 0) this.machine.tap.closed(this.connectionId, reason, 'self', this.machine.kernel.departureUs())
  }

  protected becomeClosed(): void {
    this.state = 'closed'
    this.backlog = undefined
    this.unread = undefined
    this.trouble = undefined
    this.machine.connections.remove(this)
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
