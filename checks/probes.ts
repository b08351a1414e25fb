/**
 * The probes of the load balancers' nodes, as their sockets show them: which machine was probed, by which node, and whether it answered as it had to.
 *
 * By this a check knows what a node can know of its targets, without a word of the node's. What counts as an answer is told by the settings: the handshake, or the first byte of a CONNACK.
 */
import type { SocketObserver } from '../model/world.ts'

/** How load balancers label the connections of their probes; the name of the machine follows. */
const PROBE = 'probe '
const CONNACK_TYPE = 2

export type ProbeListener = (node: string, target: string, answered: boolean, timeUs: number) => void

interface Probe {
  readonly node: string
  readonly target: string
  hasAnswered: boolean
}

/** @param listen told of each probe once: when it was answered, or when it ended without an answer */
export function observeProbes(kind: 'tcp' | 'mqtt', listen: ProbeListener): SocketObserver {
  const probes = new Map<number, Probe>()
  const answered = (connectionId: number, timeUs: number) => {
    const probe = probes.get(connectionId)
    if (probe === undefined || probe.hasAnswered) return
    probe.hasAnswered = true
    listen(probe.node, probe.target, true, timeUs)
  }
  return {
    onConnect(connectionId, machine, label) {
      if (label.startsWith(PROBE)) probes.set(connectionId, { node: machine, target: label.slice(PROBE.length), hasAnswered: false })
    },
    onOpen(connectionId, timeUs) {
      if (kind === 'tcp') answered(connectionId, timeUs)
    },
    onSent() {},
    onReceived(connectionId, bytes, timeUs) {
      if (kind === 'mqtt' && bytes[0]! >> 4 === CONNACK_TYPE) answered(connectionId, timeUs)
    },
    onClosed(connectionId, _reason, _by, timeUs) {
      const probe = probes.get(connectionId)
      probes.delete(connectionId)
      if (probe?.hasAnswered === false) listen(probe.node, probe.target, false, timeUs)
    },
  }
}
