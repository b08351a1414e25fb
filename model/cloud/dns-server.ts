/**
 * One zone's DNS server: authoritative answers (RFC 1035) for the region's access names over datagrams, each name standing for one load-balancer address a zone.
 *
 * Answers follow health: each server by itself probes the health port of every load-balancer node, which is open while the node has a living target in its zone (`load-balancer.ts`). An address
 * whose node fails `unhealthyThreshold` probes in a row leaves the answers until `healthyThreshold` good ones; a node that was never judged is in. If all look dead all are answered (fail-open, as
 * Route 53 does: the probes may be what is broken). What left an answer is still used until its TTL is over, and longer by resolvers that cache badly (`resolver.ts`).
 * A server whose health checks stand still (the fault point `dns-health-checks-stand-still`, asked before each round) goes on answering what it knew last: stale data.
 *
 * A name of the virtual network exists for nobody outside it (split horizon). The order of the addresses is turned at random for each query, so that clients which take the first one
 * spread over the zones. A datagram that is no query is ignored. Left out: TCP, other record types than A (answered as "no such data").
 */
import { emit } from '../events.ts'
import type { Address, Boot, Host, RandomStream } from '../host.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { type DnsMessage, readDnsMessage, responseCodes, rotated, writeDnsResponse } from './dns-message.ts'
import { HealthProbe, ProbeRounds } from './probing.ts'
import { isInVpc } from './vpc.ts'

/** Who may use a name: everybody, or who asks from within the virtual network. */
export type Access = 'public' | 'vpc'

export interface DnsName {
  readonly name: string
  readonly access: Access
  /** IPv4 addresses of the nodes that it stands for. */
  readonly addresses: readonly string[]
}

export interface DnsServerConfig {
  readonly settings: ServiceSettings
  readonly names: readonly DnsName[]
}

/** What is answered for a name at the moment. */
interface Entry extends DnsName {
  answered: readonly string[]
}

export function bootDnsServer(config: DnsServerConfig): Boot {
  return (host) => {
    const server = new DnsServer(host, config)
    const socket = host.bind(ports.dns, (from, bytes) => {
      const query = readDnsMessage(bytes)
      if (query === undefined || query.isResponse) return
      host.work('request', 1)
      socket.send(from, server.answer(query, from))
    })
    return {}
  }
}

class DnsServer {
  private readonly host: Host
  private readonly ttlSeconds: number
  private readonly order: RandomStream
  private readonly entries = new Map<string, Entry>()
  private readonly probes = new Map<string, HealthProbe>()

  constructor(host: Host, { settings, names }: DnsServerConfig) {
    this.host = host
    this.ttlSeconds = settings.dns.ttlSeconds
    this.order = host.random('answer order')
    for (const entry of names) this.entries.set(entry.name.toLowerCase(), { ...entry, answered: entry.addresses })
    if (!settings.dns.healthDriven) return
    for (const address of new Set(names.flatMap(({ addresses }) => addresses))) {
      const subject = { address: { host: address, port: ports.loadBalancerHealth }, label: `probe ${address}`, kind: 'tcp' as const }
      this.probes.set(address, new HealthProbe(host, subject, settings.dns, () => this.review()))
    }
    const probes = [...this.probes.values()]
    new ProbeRounds(host, host.random('health checks'), settings.dns, () => (host.perturb('dns-health-checks-stand-still') ? [] : probes))
  }

  answer(query: DnsMessage, from: Address): Buffer {
    if (query.opcode !== 0) return writeDnsResponse(query, responseCodes.notImplemented, [], 0)
    if (query.question === undefined) return writeDnsResponse(query, responseCodes.formatError, [], 0)
    const entry = this.entries.get(query.question.name)
    if (entry === undefined || (entry.access === 'vpc' && !isInVpc(from.host))) {
      return writeDnsResponse(query, responseCodes.nameError, [], 0)
    }
    if (query.question.type !== 'A') return writeDnsResponse(query, responseCodes.noError, [], 0)
    const { answered } = entry
    return writeDnsResponse(
      query,
      responseCodes.noError,
      rotated(answered, this.order.below(Math.max(1, answered.length))),
      this.ttlSeconds,
    )
  }

  /** A verdict has changed. */
  private review(): void {
    for (const entry of this.entries.values()) {
      const alive = entry.addresses.filter((address) => this.probes.get(address)!.health !== 'unhealthy')
      if (alive.length === 0) this.host.reached('dns fails open')
      const answered = alive.length === 0 ? entry.addresses : alive
      if (answered.length === entry.answered.length && answered.every((address, i) => address === entry.answered[i])) continue
      entry.answered = answered
      if (this.host.recording) emit(this.host, { kind: 'answer-changed', name: entry.name, addresses: answered })
    }
  }
}
