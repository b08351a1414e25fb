import { describe, expect, test } from 'vitest'
import { createSimWorld } from '../../sim/world.ts'
import { Stage } from '../region-stage.test-support.ts'
import { defaultSettings, ports } from '../settings.ts'
import type { HistoryEntry } from '../world.ts'
import { readDnsMessage, writeDnsQuery } from './dns-message.ts'
import { bootDnsServer } from './dns-server.ts'
import { bootLoadBalancer } from './load-balancer.ts'

const zones = [1, 2, 3]
const nodes = zones.map((zone) => `10.${zone}.0.5`)
const dnsServer = { host: '10.3.0.6', port: ports.dns }
const NAME = 'mqtt.example.com'

/** Three zones with a proxy's port and a load-balancer node each, and a DNS server in the third. */
class Names {
  readonly world = createSimWorld({ seed: 1, recording: true })
  private readonly answers: (readonly string[])[] = []
  private ask!: () => void

  constructor(dns: Partial<typeof defaultSettings.dns> = {}, loadBalancer: Partial<typeof defaultSettings.loadBalancer> = {}) {
    const settings = {
      ...defaultSettings,
      dns: { ...defaultSettings.dns, ...dns },
      loadBalancer: { ...defaultSettings.loadBalancer, ...loadBalancer },
    }
    const targets = zones.map((zone) => ({
      name: `proxy-${zone}`,
      zone: `az${zone}`,
      address: { host: `10.${zone}.0.4`, port: ports.mqtt },
    }))
    const add = (name: string, zone: string, address: string, boot: Parameters<typeof this.world.addMachine>[0]['boot']) =>
      this.world.addMachine({ name, zone, role: name.replace(/-\d$/, ''), address, cores: 2, boot })
    for (const { name, zone, address } of targets) {
      add(name, zone, address.host, (host) => {
        host.listen(address.port, () => ({ onData() {}, onClose() {} }))
        return {}
      })
    }
    for (const zone of zones)
      add(`load-balancer-${zone}`, `az${zone}`, nodes[zone - 1]!, bootLoadBalancer({ settings, targets, port: ports.mqtt }))
    const names = [{ name: NAME, access: 'public', addresses: nodes }] as const
    add('dns-3', 'az3', dnsServer.host, bootDnsServer({ settings, names }))
    add('client-1', 'internet', '203.0.0.1', (host) => {
      const socket = host.bind(5353, (_from, bytes) =>
        this.answers.push(
          readDnsMessage(bytes)!
            .addresses.map(({ address }) => address)
            .sort(),
        ),
      )
      this.ask = () => host.setTimer(0, () => socket.send(dnsServer, writeDnsQuery(1, NAME)))
      return {}
    })
  }

  runTo(seconds: number): void {
    this.world.run(seconds * 1_000_000)
  }

  /** What is answered at the present time. */
  answered(): readonly string[] {
    this.ask()
    this.world.run(this.world.nowUs() + 500_000)
    return this.answers.at(-1)!
  }

  get changes(): readonly HistoryEntry[] {
    return this.world.history.filter(({ event }) => event.kind === 'answer-changed')
  }
}

describe('health-driven answers', () => {
  test('have every node from the start, and while all is well', () => {
    const names = new Names()
    names.runTo(0.1)
    expect(names.answered()).toEqual(nodes)
    names.runTo(60)
    expect(names.answered()).toEqual(nodes)
    expect(names.changes).toEqual([])
  })

  test('leave out the node of a dark zone within two probes, and take it back after two good ones', () => {
    const names = new Names()
    names.runTo(20)
    const heal = names.world.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    names.runTo(20 + 5 + 5 + 2 + 0.5)
    expect(names.answered()).toEqual([nodes[0], nodes[2]])
    heal()
    names.runTo(60)
    expect(names.answered()).toEqual(nodes)
    expect(names.changes.map(({ event }) => event)).toEqual([
      { kind: 'answer-changed', name: NAME, addresses: [nodes[0], nodes[2]] },
      { kind: 'answer-changed', name: NAME, addresses: nodes },
    ])
  })

  test('leave out the node of a zone whose targets are dead, though the node is well', () => {
    const names = new Names()
    names.runTo(20)
    names.world.apply({ kind: 'crash', machines: ['proxy-1'] })
    names.runTo(40)
    expect(names.answered()).toEqual([nodes[1], nodes[2]])
  })

  test('have every node from the start, also where load balancers probe seldom', () => {
    const names = new Names({}, { probeIntervalMs: 30_000, probeTimeoutMs: 10_000 })
    names.runTo(60)
    expect(names.changes).toEqual([])
  })

  test('are what takes them out: fixed answers keep the dark zone', () => {
    const names = new Names({ healthDriven: false })
    names.runTo(20)
    names.world.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    names.runTo(60)
    expect(names.answered()).toEqual(nodes)
  })

  test('keep a node that missed one probe', () => {
    const names = new Names()
    names.runTo(20)
    const heal = names.world.apply({ kind: 'partition', from: ['dns-3'], to: ['load-balancer-1'], bothWays: true })
    names.runTo(26)
    heal()
    names.runTo(60)
    expect(names.changes).toEqual([])
  })

  test('have every node when all look dead', () => {
    const names = new Names()
    names.runTo(20)
    names.world.apply({ kind: 'partition', from: ['dns-3'], to: zones.map((zone) => `load-balancer-${zone}`), bothWays: true })
    names.runTo(45)
    expect(names.answered()).toEqual(nodes)
    expect(names.world.goals.has('dns fails open')).toBe(true)
  })
})

describe('stale answers', () => {
  const standStill = { kind: 'fault-point', machines: ['dns-3'], point: 'dns-health-checks-stand-still', probability: 1 } as const

  test('come from a server whose health checks stand still: a zone that went dark meanwhile stays in', () => {
    const names = new Names()
    names.runTo(20)
    const heal = names.world.apply(standStill)
    names.world.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    names.runTo(3620)
    expect(names.answered()).toEqual(nodes)
    heal()
    names.runTo(3640)
    expect(names.answered()).toEqual([nodes[0], nodes[2]])
  })

  test('leave out a zone that came back meanwhile', () => {
    const names = new Names()
    names.runTo(20)
    const back = names.world.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    names.runTo(40)
    names.world.apply(standStill)
    back()
    names.runTo(100)
    expect(names.answered()).toEqual([nodes[0], nodes[2]])
  })
})

describe('the DNS of a region', () => {
  test('has both access names', () => {
    const { plan } = new Stage()
    expect(plan.accessNames).toEqual({ public: 'mqtt.region.squall.test', vpc: 'mqtt.vpc.region.squall.test' })
  })

  test('loses a zone from its answers at every server that is left', () => {
    const stage = new Stage()
    stage.run(10_000)
    stage.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    stage.run(15_000)
    const last = new Map(
      stage.events('answer-changed').map(({ machine, event }) => [`${machine} ${(event as { name?: string }).name}`, event]),
    )
    expect([...last.keys()].sort()).toEqual(
      ['dns-1', 'dns-3'].flatMap((dns) => Object.values(stage.plan.accessNames).map((name) => `${dns} ${name}`)).sort(),
    )
    for (const event of last.values()) expect(event).toMatchObject({ addresses: ['10.1.0.120', '10.3.0.120'] })
  })

  test('is served by proxies that take MQTT probes, which leave no session behind', () => {
    const stage = new Stage({ settings: { loadBalancer: { probe: 'mqtt' } } })
    stage.run(20_000)
    const states = stage.events('target-state-changed').map(({ event }) => event as unknown as { readonly healthy: boolean })
    expect(states).toHaveLength(9)
    expect(states.every(({ healthy }) => healthy)).toBe(true)
    expect(stage.events('session-opened')).toEqual([])
  })
})
