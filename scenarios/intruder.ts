/**
 * Somebody who tries to reach what clients may not: dials machines of one role by their addresses, one after the other, and asks what only the service's own machines may ask;
 * by a connection, by a datagram, or by both, as machines of the role take them.
 *
 * It speaks the service's own language, so that only who may speak stands between it and an answer: each of its datagrams is of a kind that is answered. What came of its connections is for the
 * checks to see, at its sockets, and of its datagrams it tells itself; it gives up each connection after a while.
 */
import { encodeHandover } from '../model/broker/handover.ts'
import { encodeQuestion } from '../model/cloud/controller-election.ts'
import { encodeTargets } from '../model/cloud/target-registration.ts'
import type { Address, Boot, Host } from '../model/host.ts'
import { ports } from '../model/settings.ts'
import { encodeFrame } from '../model/wire/frame.ts'
import type { Message } from '../model/wire/messages.ts'

export type IntruderTarget = 'broker' | 'nameserver' | 'volume' | 'console' | 'load-balancer' | 'instance-group'

export interface IntruderConfig {
  readonly dials: IntruderTarget
  readonly machines: readonly { readonly name: string; readonly address: string }[]
  readonly listener: IntruderListener
}

export interface IntruderListener {
  /** A datagram was sent to this machine. */
  sent(by: string, target: string): void
  /** It sent one back. */
  answered(by: string, target: string, bytes: number): void
}

/** Between one attempt and the next. */
const INTERVAL_MS = 1500
const GIVE_UP_MS = 4000

/** The host gives any free port. */
const ANY_PORT = 0

const questions: Readonly<Partial<Record<IntruderTarget, { readonly port: number; readonly message: Message }>>> = {
  broker: {
    port: ports.broker,
    message: {
      name: 'queryMessages',
      shard: 0,
      topic: 'data/0',
      fromMs: 0,
      toMs: Number.MAX_SAFE_INTEGER,
      afterOffset: 0,
      limit: 100,
    },
  },
  nameserver: { port: ports.nameserver, message: { name: 'pullRoutes', instance: 0, version: 0 } },
  volume: { port: ports.volume, message: { name: 'volumeRead', volume: 0, offset: 0, length: 4096 } },
  console: { port: ports.console, message: { name: 'listClients', after: '', limit: 100 } },
}

/** As a machine that is not the one addressed would send it: `others` are of its role. */
const datagrams: Readonly<
  Partial<Record<IntruderTarget, { readonly port: number; encode(others: readonly string[], sender: string): Buffer }>>
> = {
  broker: {
    port: ports.handover,
    encode: (_others, sender) => encodeHandover({ word: 'offer', shard: 0, epoch: 1, broker: sender }),
  },
  // Older than what a node has: it answers, and a node that listens to strangers is found out without the harm that would hide it.
  'load-balancer': { port: ports.targetRegistration, encode: () => encodeTargets(0, []) },
  'instance-group': { port: ports.instanceGroup, encode: ([other]) => encodeQuestion(other ?? '') },
}

export function bootIntruder({ dials, machines, listener }: IntruderConfig): Boot {
  return (host) => {
    const names = new Map(machines.map(({ name, address }) => [address, name]))
    const socket = host.bind(ANY_PORT, (from, bytes) => listener.answered(host.machine, names.get(from.host) ?? from.host, bytes.length))
    let next = 0
    const attempt = () => {
      const target = machines[next % machines.length]
      next++
      host.setTimer(INTERVAL_MS, attempt)
      if (target === undefined) return
      const [question, datagram] = [questions[dials], datagrams[dials]]
      if (question !== undefined) dial(host, target.name, { host: target.address, port: question.port }, question.message)
      if (datagram === undefined) return
      listener.sent(host.machine, target.name)
      const others = machines.filter(({ name }) => name !== target.name).map(({ name }) => name)
      socket.send({ host: target.address, port: datagram.port }, datagram.encode(others, host.machine))
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
