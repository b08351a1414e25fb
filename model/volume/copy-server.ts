/**
 * A copy server: a copy, or a backup, of the volumes that are placed here, on this machine's disk (`copy-store.ts` for each volume). Answers brokers over links.
 *
 * It takes no initiative: brokers prepare, append, repair, trim; copies never speak to each other. A volume exists from the first prepare on.
 */
import { listenPrivately } from '../cloud/vpc.ts'
import { emit } from '../events.ts'
import type { Boot, Host } from '../host.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { Link, type LinkHandler } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'
import { CopyStore } from './copy-store.ts'

class CopyServer implements LinkHandler {
  private readonly host: Host
  private readonly settings: ServiceSettings
  private readonly stores = new Map<number, CopyStore>()

  constructor(host: Host, settings: ServiceSettings) {
    this.host = host
    this.settings = settings
    for (const name of host.files.list('v')) {
      const volume = Number(name.slice(1, name.indexOf('/')))
      if (!this.stores.has(volume)) this.open(volume)
    }
    listenPrivately(host, ports.volume, (connection) => Link.accept(host, connection, this))
  }

  onRequest(link: Link, message: Message, reply: (message: Message) => void): void {
    switch (message.name) {
      case 'volumePrepare':
        ;(this.stores.get(message.volume) ?? this.open(message.volume)).prepare(link, message, reply)
        break
      case 'volumeAppend': {
        this.host.work('record', 1)
        const store = this.stores.get(message.volume)
        if (store === undefined) reply({ name: 'volumeAppended', outcome: 'gap', promisedEpoch: 0, size: 0 })
        else store.append(link, message, reply)
        break
      }
      case 'volumeCut': {
        const store = this.stores.get(message.volume)
        if (store === undefined) reply({ name: 'volumeAppended', outcome: 'gap', promisedEpoch: 0, size: 0 })
        else store.cut(link, message, reply)
        break
      }
      case 'volumeTrim': {
        const store = this.stores.get(message.volume)
        if (store === undefined) reply({ name: 'answer', outcome: 'not-owner' })
        else store.trim(link, message, (outcome) => reply({ name: 'answer', outcome }))
        break
      }
      case 'volumeFilling': {
        const store = this.stores.get(message.volume)
        if (store === undefined) reply({ name: 'answer', outcome: 'not-owner' })
        else store.fill(link, message, (outcome) => reply({ name: 'answer', outcome }))
        break
      }
      case 'volumeRead': {
        const store = this.stores.get(message.volume)
        if (store === undefined) reply({ name: 'volumeData', outcome: 'failed', bytes: Buffer.alloc(0) })
        else store.read(message.offset, message.length, (outcome, bytes) => reply({ name: 'volumeData', outcome, bytes }))
        break
      }
      case 'volumeLease':
        reply(this.lease(message))
        break
      default:
        link.abort() // a caller that speaks another service's language
    }
  }

  private lease(message: MessageOf<'volumeLease'>): MessageOf<'volumeLeased'> {
    const lost: { volume: number; epoch: number }[] = []
    for (const { volume, epoch } of message.volumes) {
      const answer = this.stores.get(volume)?.grantLease(epoch, message.owner) ?? { promisedEpoch: 0 }
      if (answer === 'granted') continue
      lost.push({ volume, epoch: answer.promisedEpoch })
      if (answer.promisedEpoch > epoch && this.host.recording) {
        emit(this.host, { kind: 'copy-refused', volume, epoch, promisedEpoch: answer.promisedEpoch })
      }
    }
    return { name: 'volumeLeased', lost }
  }

  private open(volume: number): CopyStore {
    const store = new CopyStore(this.host, volume, this.settings.broker.segmentBytes, this.settings.volume.leaseMs)
    this.stores.set(volume, store)
    return store
  }
}

/** A copy server needs no orderly stop: what it answered is on disk. */
export function bootCopyServer(config: { readonly settings: ServiceSettings }): Boot {
  return (host) => {
    new CopyServer(host, config.settings)
    return {}
  }
}
