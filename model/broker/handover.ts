/**
 * How a broker asks another to take a shard from it, by datagrams: offer → accepted or declined; the giver lets the shard go; take.
 *
 * A datagram is only a hint: a lost one costs time, never more. An offer that nobody answers leaves the shard where it is, or to whoever finds it ownerless; a `take` that
 * is lost leaves it to the same. What keeps two owners apart is the volume's epoch. Who accepts tells the nameservers that it is about to serve
 * the shard, so that nobody else tries meanwhile, and takes that back when no `take` comes.
 */
import { isOfService } from '../cloud/vpc.ts'
import type { Address, DatagramSocket, Host, Timer } from '../host.ts'
import { ports } from '../settings.ts'
import { oneOf, Reader, record, u16, u32, utf8, type Value, Writer } from '../wire/codec.ts'

/** First of each datagram: no other program's may be taken for one of ours. */
const MAGIC = 0x5371_686f

const field = record({ magic: u32, word: oneOf('offer', 'accepted', 'declined', 'take'), shard: u16, epoch: u32, broker: utf8 })
type Datagram = Value<typeof field>

export interface HandoverPeer {
  readonly name: string
  readonly address: Address
}

export interface HandoverOwner {
  /** Whether it would serve this shard as well. */
  wants(shard: number): boolean
  /** What is accepted and not yet taken has changed: the nameservers are to be told. */
  onReserved(): void
  /** The former owner has let the shard go, which it served under this epoch. */
  take(shard: number, epoch: number): void
}

const OFFER_REPEAT_MS = 100
const OFFERS = 3
const TAKE_REPEATS_MS = [0, 30, 150] as const
/** Longer than any volume takes to sync what is under way. */
const RESERVED_MS = 5000

interface Offer {
  readonly shard: number
  readonly epoch: number
  readonly to: HandoverPeer
  left: number
  timer: Timer | undefined
  readonly done: (accepted: boolean) => void
}

export class Handovers {
  private readonly host: Host
  private readonly owner: HandoverOwner
  private readonly socket: DatagramSocket
  private readonly offers = new Map<number, Offer>()
  private readonly reservations = new Map<number, Timer>()

  constructor(host: Host, owner: HandoverOwner) {
    this.host = host
    this.owner = owner
    this.socket = host.bind(ports.handover, (from, bytes) => this.onDatagram(from, bytes))
  }

  /** Shards that were accepted and not yet taken. */
  reserved(): readonly number[] {
    return [...this.reservations.keys()]
  }

  /** Asks a broker to take a shard; `done` says whether it will, and is called once. */
  offer(shard: number, epoch: number, to: HandoverPeer, done: (accepted: boolean) => void): void {
    const offer: Offer = { shard, epoch, to, left: OFFERS, timer: undefined, done }
    this.offers.set(shard, offer)
    this.repeat(offer)
  }

  /** The shard is let go: who accepted it may attach it. */
  tellTake(shard: number, epoch: number, to: HandoverPeer): void {
    for (const delayMs of TAKE_REPEATS_MS) {
      if (delayMs === 0) this.send(to.address, 'take', shard, epoch)
      else this.host.setTimer(delayMs, () => this.send(to.address, 'take', shard, epoch))
    }
  }

  private repeat(offer: Offer): void {
    if (offer.left-- === 0) {
      this.settle(offer, false)
      return
    }
    this.send(offer.to.address, 'offer', offer.shard, offer.epoch)
    offer.timer = this.host.setTimer(OFFER_REPEAT_MS, () => this.repeat(offer))
  }

  private settle(offer: Offer, accepted: boolean): void {
    offer.timer?.cancel()
    if (this.offers.get(offer.shard) === offer) this.offers.delete(offer.shard)
    offer.done(accepted)
  }

  private onDatagram(from: Address, bytes: Buffer): void {
    if (!isOfService(from.host)) return
    const reader = new Reader(bytes)
    const datagram = field.read(reader)
    if (!reader.complete() || datagram.magic !== MAGIC) return
    const { word, shard, epoch } = datagram
    switch (word) {
      case 'offer':
        this.onOffer(from, datagram)
        break
      case 'take':
        this.unreserve(shard)
        this.owner.take(shard, epoch)
        break
      default: {
        const offer = this.offers.get(shard)
        if (offer !== undefined && offer.epoch === epoch && offer.to.name === datagram.broker) this.settle(offer, word === 'accepted')
      }
    }
  }

  private onOffer(from: Address, { shard, epoch }: Datagram): void {
    if (!this.reservations.has(shard)) {
      if (!this.owner.wants(shard)) {
        this.send(from, 'declined', shard, epoch)
        return
      }
      const timer = this.host.setTimer(RESERVED_MS, () => {
        this.unreserve(shard)
        this.owner.onReserved()
      })
      this.reservations.set(shard, timer)
      this.owner.onReserved()
    }
    this.send(from, 'accepted', shard, epoch)
  }

  private unreserve(shard: number): void {
    this.reservations.get(shard)?.cancel()
    this.reservations.delete(shard)
  }

  private send(to: Address, word: Datagram['word'], shard: number, epoch: number): void {
    this.socket.send(to, encodeHandover({ word, shard, epoch, broker: this.host.machine }))
  }
}

export function encodeHandover(datagram: Omit<Datagram, 'magic'>): Buffer {
  const writer = new Writer().begin()
  field.write(writer, { magic: MAGIC, ...datagram })
  return writer.finish()
}
