/**
 * Somebody who tries to reach what clients may not: dials machines of one role by their addresses, one after the other, and asks what only the service's own machines may ask.
 *
 * It speaks the service's own language, so that only who may connect stands between it and an answer. What came of it is for the checks to see, at its sockets; it gives up each
 * connection after a while.
 */
import type { Address, Boot, Host } from '../model/host.ts'
import { ports } from '../model/settings.ts'
import { encodeFrame } from '../model/wire/frame.ts'
import type { Message } from '../model/wire/messages.ts'

export type IntruderTarget = 'broker' | 'nameserver' | 'volume' | 'console'

export interface IntruderConfig {
  readonly dials: IntruderTarget
  readonly machines: readonly { readonly name: string; readonly address: string }[]
}

/** Between one attempt and the next. */
const INTERVAL_MS = 1500
const GIVE_UP_MS = 4000

const questions: Readonly<Record<IntruderTarget, Message>> = {
  broker: {
    name: 'queryMessages',
    shard: 0,
    topic: 'data/0',
    fromMs: 0,
    toMs: Number.MAX_SAFE_INTEGER,
    afterOffset: 0,
    limit: 100,
  },
  nameserver: { name: 'pullRoutes', instance: 0, version: 0 },
  volume: { name: 'volumeRead', volume: 0, offset: 0, length: 4096 },
  console: { name: 'listClients', after: '', limit: 100 },
}

export function bootIntruder({ dials, machines }: IntruderConfig): Boot {
  return (host) => {
    let next = 0
    const attempt = () => {
      const target = machines[next % machines.length]
      next++
      if (target !== undefined) dial(host, target.name, { host: target.address, port: ports[dials] }, questions[dials])
      host.setTimer(INTERVAL_MS, attempt)
    }
    host.setTimer(INTERVAL_MS * host.random('first attempt').next(), attempt)
    return {}
  }
}

/** The machine's name is the label of the connection: by it the checks know who was dialled. */
function dial(host: Host, name: string, target: Address, question: Message): void {
  let isOver = false
  const connection = host.connect(
    target,
    {
      onOpen: (opened) => {
        opened.write(encodeFrame(1, question))
      },
      onData() {},
      onClose() {
        isOver = true
      },
    },
    name,
  )
  host.setTimer(GIVE_UP_MS, () => {
    if (!isOver) connection.reset()
  })
}
