/**
 * One zone's DNS server: authoritative answers (RFC 1035) for the region's access names over datagrams, each name standing for one load-balancer address a zone.
 *
 * Answers are fixed: a zone that is dark stays in them, and clients must try the next address. The order of the addresses is turned at random for each query, so that clients which
 * take the first one spread over the zones. A datagram that is no query is ignored. Left out: health-checked answers, TCP, other record types than A (answered as "no such data").
 */
import type { Boot } from '../host.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { type DnsMessage, readDnsMessage, responseCodes, rotated, writeDnsResponse } from './dns-message.ts'

export interface DnsServerConfig {
  readonly settings: ServiceSettings
  /** IPv4 addresses by name. */
  readonly names: ReadonlyMap<string, readonly string[]>
}

export function bootDnsServer(config: DnsServerConfig): Boot {
  const names = new Map<string, readonly string[]>()
  for (const [name, addresses] of config.names) names.set(name.toLowerCase(), addresses)
  const { ttlSeconds } = config.settings.dns

  return (host) => {
    const order = host.random('answer order')

    function answer(query: DnsMessage): Buffer {
      if (query.opcode !== 0) return writeDnsResponse(query, responseCodes.notImplemented, [], 0)
      if (query.question === undefined) return writeDnsResponse(query, responseCodes.formatError, [], 0)
      const addresses = names.get(query.question.name)
      if (addresses === undefined) return writeDnsResponse(query, responseCodes.nameError, [], 0)
      if (query.question.type !== 'A') return writeDnsResponse(query, responseCodes.noError, [], 0)
      return writeDnsResponse(query, responseCodes.noError, rotated(addresses, order.below(Math.max(1, addresses.length))), ttlSeconds)
    }

    const socket = host.bind(ports.dns, (from, bytes) => {
      const query = readDnsMessage(bytes)
      if (query === undefined || query.isResponse) return
      host.work('request', 1)
      socket.send(from, answer(query))
    })
    return {}
  }
}
