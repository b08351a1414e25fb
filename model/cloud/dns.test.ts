import { encode } from 'dns-packet'
import { describe, expect, test } from 'vitest'
import { createSimWorld } from '../../sim/world.ts'
import type { Address, Boot, Host } from '../host.ts'
import { defaultSettings, ports } from '../settings.ts'
import type { VirtualWorld } from '../world.ts'
import { type DnsMessage, readDnsMessage, responseCodes, writeDnsQuery, writeDnsResponse } from './dns-message.ts'
import { bootDnsServer } from './dns-server.ts'
import { Resolver, type ResolverCache } from './resolver.ts'

const loadBalancers = ['10.1.0.5', '10.2.0.5', '10.3.0.5']
const NAME = 'mqtt.example.com'
const VPC_NAME = 'mqtt.vpc.example.com'
const names = (['public', 'vpc'] as const).map((access) => ({ name: access === 'vpc' ? VPC_NAME : NAME, access, addresses: loadBalancers }))
/** There are no load balancers to probe here. */
const settings = { ...defaultSettings, dns: { ...defaultSettings.dns, healthDriven: false } }
const servers: readonly Address[] = [1, 2, 3].map((zone) => ({ host: `10.${zone}.0.6`, port: ports.dns }))

function addServers(world: VirtualWorld, boot: Boot = bootDnsServer({ settings, names })): void {
  servers.forEach(({ host }, index) => {
    world.addMachine({ name: `dns-${index + 1}`, zone: `az${index + 1}`, role: 'dns', address: host, cores: 2, boot })
  })
}

function addClient(world: VirtualWorld, script: (host: Host) => void): void {
  world.addMachine({
    name: 'client-machine-1',
    zone: 'internet',
    role: 'client',
    address: '203.0.0.1',
    cores: 2,
    boot: (host) => {
      script(host)
      return {}
    },
  })
}

/** Sends each datagram to the first server, 10 ms apart, and gives back what is answered. */
function exchange(
  datagrams: readonly Buffer[],
  world = createSimWorld({ seed: 1, recording: true }),
): { answers: DnsMessage[]; world: VirtualWorld } {
  const answers: DnsMessage[] = []
  addServers(world)
  addClient(world, (host) => {
    const socket = host.bind(5353, (_from, bytes) => answers.push(readDnsMessage(bytes)!))
    datagrams.forEach((bytes, index) => {
      host.setTimer(10 * (index + 1), () => socket.send(servers[0]!, bytes))
    })
  })
  world.run(5_000_000)
  return { answers, world }
}

describe('a DNS server', () => {
  test('answers with all addresses, the TTL of the settings, and authority', () => {
    const { answers } = exchange([writeDnsQuery(9, NAME)])
    expect(answers).toHaveLength(1)
    expect(answers[0]).toMatchObject({ id: 9, isResponse: true, responseCode: 0, question: { name: NAME } })
    expect(answers[0]!.addresses.map(({ address }) => address).sort()).toEqual(loadBalancers)
    expect(answers[0]!.addresses.every(({ ttlSeconds }) => ttlSeconds === defaultSettings.dns.ttlSeconds)).toBe(true)
  })

  test('turns the order, so that each address is first in about a third of the answers', () => {
    const { answers } = exchange(Array.from({ length: 150 }, (_, id) => writeDnsQuery(id, NAME)))
    for (const loadBalancer of loadBalancers) {
      expect(answers.filter(({ addresses }) => addresses[0]!.address === loadBalancer).length).toBeGreaterThan(30)
    }
  })

  test('turns it alike in two runs of one seed', () => {
    const queries = Array.from({ length: 20 }, (_, id) => writeDnsQuery(id, NAME))
    expect(exchange(queries).answers).toEqual(exchange(queries).answers)
  })

  test('finds names without regard to case, and denies those it does not have', () => {
    const { answers } = exchange([writeDnsQuery(1, 'MQTT.example.COM'), writeDnsQuery(2, 'other.example.com')])
    const [found, denied] = [1, 2].map((id) => answers.find((answer) => answer.id === id)!)
    expect(found!.addresses).toHaveLength(3)
    expect(denied).toMatchObject({ responseCode: responseCodes.nameError, addresses: [] })
  })

  test('has the name of the virtual network for those inside it, and for nobody else', () => {
    const world = createSimWorld({ seed: 1, recording: true })
    const answers = new Map<string, DnsMessage>()
    addServers(world)
    for (const address of ['203.0.0.1', '172.16.0.1', '172.32.0.1', '192.168.0.1', '10.1.0.77']) {
      const boot: Boot = (host) => {
        const socket = host.bind(5353, (_from, bytes) => answers.set(address, readDnsMessage(bytes)!))
        host.setTimer(10, () => socket.send(servers[0]!, writeDnsQuery(1, VPC_NAME)))
        return {}
      }
      world.addMachine({ name: `at ${address}`, zone: 'internet', role: 'client', address, cores: 2, boot })
    }
    world.run(1_000_000)
    for (const inside of ['172.16.0.1', '192.168.0.1', '10.1.0.77']) expect(answers.get(inside)!.addresses).toHaveLength(3)
    for (const outside of ['203.0.0.1', '172.32.0.1']) {
      expect(answers.get(outside)).toMatchObject({ responseCode: responseCodes.nameError, addresses: [] })
    }
  })

  test('has no data of another type for a name it has', () => {
    const { answers } = exchange([encode({ type: 'query', id: 3, questions: [{ name: NAME, type: 'AAAA' }] })])
    expect(answers[0]).toMatchObject({ responseCode: responseCodes.noError, addresses: [], question: { type: 'AAAA' } })
  })

  test('says what is wrong with a message that is not one question, or no plain query', () => {
    const { answers } = exchange([
      encode({ type: 'query', id: 1, questions: [] }),
      encode({ type: 'query', id: 2, flags: 2 << 11, questions: [{ name: NAME, type: 'A' }] }),
    ])
    expect(answers.map(({ responseCode }) => responseCode)).toEqual([responseCodes.formatError, responseCodes.notImplemented])
  })

  test('ignores what is no query, and goes on', () => {
    const response = writeDnsResponse(readDnsMessage(writeDnsQuery(5, NAME))!, responseCodes.noError, loadBalancers, 60)
    const { answers, world } = exchange([
      Buffer.from('garbage'),
      Buffer.alloc(0),
      Buffer.alloc(500, 0xff),
      response,
      writeDnsQuery(6, NAME),
    ])
    expect(answers.map(({ id }) => id)).toEqual([6])
    expect(world.history.filter(({ event }) => event.kind === 'process-ended')).toEqual([])
  })
})

interface Lookup {
  readonly atMs: number
  readonly name?: string
}

interface Resolved {
  readonly atMs: number
  readonly addresses: readonly string[]
}

/** Looks names up at the given times and gives back when each was answered, and how. */
function lookUp(
  cache: ResolverCache,
  lookups: readonly Lookup[],
  arrange: (world: VirtualWorld) => void = addServers,
): { results: (Resolved | undefined)[]; world: VirtualWorld } {
  const world = createSimWorld({ seed: 3, recording: true })
  const results: (Resolved | undefined)[] = lookups.map(() => undefined)
  arrange(world)
  addClient(world, (host) => {
    const resolver = new Resolver(host, servers, { cache })
    lookups.forEach(({ atMs, name }, index) => {
      host.setTimer(atMs, () => {
        let returned = false
        resolver.resolve(name ?? NAME, (addresses) => {
          expect(returned).toBe(true)
          expect(results[index]).toBeUndefined()
          results[index] = { atMs: host.nowMs(), addresses }
        })
        returned = true
      })
    })
  })
  world.run(200_000_000)
  expect(world.history.filter(({ event }) => event.kind === 'process-ended' && 'error' in event)).toEqual([])
  return { results, world }
}

/** Servers that keep count of what they are asked and answer by `answer`. */
function countingServers(asked: { server: number; query: DnsMessage }[], answer: (query: DnsMessage, count: number) => Buffer | undefined) {
  return (world: VirtualWorld) => {
    servers.forEach(({ host: address }, index) => {
      world.addMachine({
        name: `dns-${index + 1}`,
        zone: `az${index + 1}`,
        role: 'dns',
        address,
        cores: 2,
        boot: (host) => {
          const socket = host.bind(ports.dns, (from, bytes) => {
            const query = readDnsMessage(bytes)!
            asked.push({ server: index, query })
            const reply = answer(query, asked.length)
            if (reply !== undefined) socket.send(from, reply)
          })
          return {}
        },
      })
    })
  }
}

const answerWith = (query: DnsMessage, addresses: readonly string[], ttlSeconds = 60) =>
  writeDnsResponse(query, responseCodes.noError, addresses, ttlSeconds)

describe('a resolver', () => {
  test('finds all addresses of a name', () => {
    const { results } = lookUp('ttl', [{ atMs: 10 }])
    expect([...results[0]!.addresses].sort()).toEqual(loadBalancers)
    expect(results[0]!.atMs).toBeLessThan(200)
  })

  test('finds nothing for a name that nobody has, at once', () => {
    const { results } = lookUp('ttl', [{ atMs: 10, name: 'nobody.example.com' }])
    expect(results[0]!.addresses).toEqual([])
    expect(results[0]!.atMs).toBeLessThan(200)
  })

  test('asks once for all who ask at the same time, and not again before the TTL has passed', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    const { results } = lookUp(
      'ttl',
      [{ atMs: 10 }, { atMs: 10 }, { atMs: 15 }, { atMs: 59_000 }, { atMs: 61_000 }],
      countingServers(asked, (query, count) => answerWith(query, [`10.0.0.${count}`])),
    )
    expect(asked).toHaveLength(2)
    expect(results.map((result) => result!.addresses)).toEqual([['10.0.0.1'], ['10.0.0.1'], ['10.0.0.1'], ['10.0.0.1'], ['10.0.0.2']])
  })

  test('keeps the first address for ever where it is pinned', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    const { results } = lookUp(
      'first-address-pinned',
      [{ atMs: 10 }, { atMs: 10 }, { atMs: 1000 }, { atMs: 190_000 }],
      countingServers(asked, (query) => answerWith(query, ['10.0.0.1', '10.0.0.2', '10.0.0.3'])),
    )
    expect(results.map((result) => result!.addresses)).toEqual(Array(4).fill(['10.0.0.1']))
    expect(asked).toHaveLength(1)
  })

  test('keeps the whole answer for ever where it is told to', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    const { results } = lookUp(
      'for-ever',
      [{ atMs: 10 }, { atMs: 190_000 }],
      countingServers(asked, (query) => answerWith(query, loadBalancers, 1)),
    )
    expect(results.map((result) => [...result!.addresses].sort())).toEqual([loadBalancers, loadBalancers])
    expect(asked).toHaveLength(1)
  })

  /** An answer for a minute, and silence from then on. */
  const silentAfterTheFirst = (asked: { server: number; query: DnsMessage }[]) =>
    countingServers(asked, (query, count) => (count === 1 ? answerWith(query, ['10.0.0.1']) : undefined))

  test('serves stale data where it is told to: after 1.8 s, then at once for half a minute, while it asks again', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    const lookups = [{ atMs: 10 }, { atMs: 70_000 }, { atMs: 80_000 }, { atMs: 110_000 }]
    const { results, world } = lookUp('ttl-serve-stale', lookups, silentAfterTheFirst(asked))
    expect(results.map((result) => result!.addresses)).toEqual(Array(4).fill(['10.0.0.1']))
    expect(results.map((result, i) => Math.round((result!.atMs - lookups[i]!.atMs) / 100) * 100)).toEqual([0, 1800, 0, 1800])
    expect(asked).toHaveLength(1 + 6 + 6)
    expect(world.goals.has('resolver serves stale data')).toBe(true)
  })

  test('has nothing to give then where it keeps to the TTL', () => {
    const { results } = lookUp('ttl', [{ atMs: 10 }, { atMs: 70_000 }], silentAfterTheFirst([]))
    expect(results[1]).toEqual({ atMs: 76_000, addresses: [] })
  })

  test('takes the answer that comes at last in place of what is stale', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    const { results } = lookUp(
      'ttl-serve-stale',
      [{ atMs: 10 }, { atMs: 70_000 }, { atMs: 75_000 }],
      countingServers(asked, (query, count) => (count === 1 || count === 4 ? answerWith(query, [`10.0.0.${count}`]) : undefined)),
    )
    expect(results.map((result) => result!.addresses)).toEqual([['10.0.0.1'], ['10.0.0.1'], ['10.0.0.4']])
  })

  test('turns a kept answer, so that those who share it spread out', () => {
    const lookups = Array.from({ length: 90 }, (_, n) => ({ atMs: 1000 + n }))
    const { results } = lookUp('ttl', [{ atMs: 10 }, ...lookups])
    for (const loadBalancer of loadBalancers) {
      expect(results.filter((result) => result!.addresses[0] === loadBalancer).length).toBeGreaterThan(15)
    }
  })

  test('tries the next server after a second, and begins with the one that answered the next time', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    let alive = -1
    const { results } = lookUp(
      'ttl',
      [{ atMs: 10 }, { atMs: 5000 }],
      countingServers(asked, (query) => {
        const server = asked.at(-1)!.server
        if (alive < 0) alive = (server + 2) % 3
        return server === alive ? answerWith(query, ['10.0.0.1'], 0) : undefined
      }),
    )
    expect(results[0]!.addresses).toEqual(['10.0.0.1'])
    expect(results[0]!.atMs).toBeGreaterThan(2000)
    expect(results[0]!.atMs).toBeLessThan(2300)
    expect(results[1]!.atMs).toBeLessThan(5200)
    expect(asked.map(({ server }) => server)).toEqual([(alive + 1) % 3, (alive + 2) % 3, alive, alive])
  })

  test('gives up after two rounds', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    const { results } = lookUp(
      'ttl',
      [{ atMs: 0 }],
      countingServers(asked, () => undefined),
    )
    expect(results[0]!.addresses).toEqual([])
    expect(results[0]!.atMs).toBeGreaterThanOrEqual(6000)
    expect(results[0]!.atMs).toBeLessThan(6100)
    expect(asked.map(({ server }) => server).sort()).toEqual([0, 0, 1, 1, 2, 2])
  })

  test('goes on at once from a server that cannot answer', () => {
    const asked: { server: number; query: DnsMessage }[] = []
    const { results } = lookUp(
      'ttl',
      [{ atMs: 10 }],
      countingServers(asked, (query, count) =>
        count < 3 ? writeDnsResponse(query, responseCodes.notImplemented, [], 0) : answerWith(query, ['10.0.0.1']),
      ),
    )
    expect(results[0]!.addresses).toEqual(['10.0.0.1'])
    expect(results[0]!.atMs).toBeLessThan(500)
  })

  test('takes a late answer to an earlier try', () => {
    const { results } = lookUp('ttl', [{ atMs: 10 }], (world) => {
      servers.forEach(({ host: address }, index) => {
        world.addMachine({
          name: `dns-${index + 1}`,
          zone: `az${index + 1}`,
          role: 'dns',
          address,
          cores: 2,
          boot: (host) => {
            const socket = host.bind(ports.dns, (from, bytes) => {
              host.setTimer(1400, () => socket.send(from, answerWith(readDnsMessage(bytes)!, ['10.0.0.1'])))
            })
            return {}
          },
        })
      })
    })
    expect(results[0]!.addresses).toEqual(['10.0.0.1'])
    expect(results[0]!.atMs).toBeLessThan(1600)
  })

  test('is told once, however often a server answers', () => {
    const { results } = lookUp('ttl', [{ atMs: 10 }, { atMs: 20_000 }], (world) => {
      servers.forEach(({ host: address }, index) => {
        world.addMachine({
          name: `dns-${index + 1}`,
          zone: `az${index + 1}`,
          role: 'dns',
          address,
          cores: 2,
          boot: (host) => {
            const socket = host.bind(ports.dns, (from, bytes) => {
              for (const last of [1, 2, 3]) socket.send(from, answerWith(readDnsMessage(bytes)!, [`10.0.0.${last}`]))
            })
            return {}
          },
        })
      })
    })
    expect(results[1]!.addresses).toEqual(results[0]!.addresses)
  })

  test('believes no answer to another question, of another id, or from elsewhere', () => {
    const { results } = lookUp('ttl', [{ atMs: 10 }], (world) => {
      servers.forEach(({ host: address }, index) => {
        world.addMachine({
          name: `dns-${index + 1}`,
          zone: `az${index + 1}`,
          role: 'dns',
          address,
          cores: 2,
          boot: (host) => {
            const elsewhere = host.bind(5354, () => {})
            const socket = host.bind(ports.dns, (from, bytes) => {
              const query = readDnsMessage(bytes)!
              const other = readDnsMessage(writeDnsQuery(query.id, 'other.example.com'))!
              socket.send(from, answerWith(other, ['6.6.6.1']))
              socket.send(from, answerWith({ ...query, id: query.id ^ 1 }, ['6.6.6.2']))
              elsewhere.send(from, answerWith(query, ['6.6.6.3']))
              socket.send(from, Buffer.from('nonsense'))
              host.setTimer(500, () => socket.send(from, answerWith(query, ['10.0.0.1'])))
            })
            return {}
          },
        })
      })
    })
    expect(results[0]!.addresses).toEqual(['10.0.0.1'])
    expect(results[0]!.atMs).toBeGreaterThan(500)
  })

  test('finds the name with the first zone dark', () => {
    const world = (w: VirtualWorld) => {
      addServers(w)
      w.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })
      w.apply({ kind: 'zone-outage', zone: 'az2', form: 'isolated' })
    }
    const { results } = lookUp('ttl', [{ atMs: 10 }], world)
    expect(results[0]!.addresses).toHaveLength(3)
    expect(results[0]!.atMs).toBeLessThan(2300)
  })
})
