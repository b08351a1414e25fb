/**
 * One load-balancer node, targets that echo what they hear, their name before it, and a machine of clients. As in MQTT, clients speak first.
 * A target answers a CONNECT by CONNACK, unless it is among those that hang: they take connections, and never answer.
 */
import { createSimWorld } from '../../sim/world.ts'
import type { Boot, CloseReason, Connection, Host, Listener } from '../host.ts'
import { defaultSettings, ports, type ServiceSettings } from '../settings.ts'
import type { HistoryEntry, VirtualWorld } from '../world.ts'
import { bootLoadBalancer } from './load-balancer.ts'
import type { LoadBalancerTarget } from './target-registration.ts'

export const targetOf = (zone: number, name = `proxy-${zone}`, last = 4): LoadBalancerTarget => ({
  name,
  zone: `az${zone}`,
  address: { host: `10.${zone}.0.${last}`, port: ports.mqtt },
})
export const targets: readonly LoadBalancerTarget[] = [1, 2, 3].map((zone) => targetOf(zone))
export const balancerHost = '10.1.0.5'

export interface ClientConnection {
  readonly connection: Connection
  /** The name that the target answers the first bytes with. */
  target: string
  received: string
  closed: CloseReason | undefined
}

export interface EdgeOptions {
  readonly seed?: number
  readonly settings?: Partial<ServiceSettings['loadBalancer']>
}

const CONNACK_REFUSED = Buffer.from('20020002', 'hex')

export class Edge {
  readonly world: VirtualWorld
  readonly clients: ClientConnection[] = []
  /** Names of targets that take connections and never answer. */
  readonly hanging = new Set<string>()
  /** Names of targets that answer, and not by MQTT. */
  readonly strange = new Set<string>()
  /** What each target heard first over each connection. */
  readonly heard: { readonly target: string; readonly bytes: string }[] = []
  readonly targetHosts = new Map<string, { readonly host: Host; readonly listener: Listener }>()
  private client!: Host

  constructor({ seed = 1, settings = {} }: EdgeOptions = {}) {
    this.world = createSimWorld({ seed, recording: true })
    for (const target of targets) this.addTarget(target)
    const boot = bootLoadBalancer({
      settings: { ...defaultSettings, loadBalancer: { ...defaultSettings.loadBalancer, ...settings } },
      targets,
      port: ports.mqtt,
    })
    this.world.addMachine({ name: 'load-balancer-1', zone: 'az1', role: 'load-balancer', address: balancerHost, cores: 4, boot })
    this.addHost('client-machine-1', 'internet', '203.0.0.1', (host) => {
      this.client = host
    })
  }

  addTarget({ name, zone, address }: LoadBalancerTarget): void {
    this.addHost(name, zone, address.host, (host) => {
      const listener = host.listen(address.port, () => {
        let greeted = false
        return {
          onData: (connection, bytes) => {
            if (!greeted) this.heard.push({ target: name, bytes: bytes.toString('hex') })
            if (this.hanging.has(name)) return
            if (this.strange.has(name)) connection.write(Buffer.from('SSH-2.0'))
            else if (!greeted && bytes[0] === 0x10) connection.write(CONNACK_REFUSED)
            else connection.write(Buffer.from(greeted ? bytes.toString() : `${name};${bytes}`))
            greeted = true
          },
          onClose() {},
        }
      })
      this.targetHosts.set(name, { host, listener })
    })
  }

  /** A machine that does what `script` says when it starts. */
  addHost(name: string, zone: string, address: string, script: (host: Host) => void): void {
    const boot: Boot = (host) => {
      script(host)
      return {}
    }
    this.world.addMachine({ name, zone, role: name.replace(/-[^-]*$/, ''), address, cores: 4, boot })
  }

  runTo(seconds: number): void {
    this.world.run(seconds * 1_000_000)
  }

  /** Connects `count` clients at once; each says hello. */
  connect(count: number): ClientConnection[] {
    const opened: ClientConnection[] = []
    for (let n = 0; n < count; n++) {
      const label = `client-${this.clients.length}`
      const state: Omit<ClientConnection, 'connection'> & { connection?: Connection } = { target: '', received: '', closed: undefined }
      const client = state as ClientConnection
      state.connection = this.client.connect(
        { host: balancerHost, port: ports.mqtt },
        {
          onData: (_connection, bytes) => {
            client.received += bytes.toString()
            client.target = client.received.split(';')[0]!
          },
          onClose: (_connection, reason) => {
            client.closed = reason
          },
        },
        label,
      )
      state.connection.write(Buffer.from('hello'))
      this.clients.push(client)
      opened.push(client)
    }
    return opened
  }

  /** Clients come one by one, evenly over the time. */
  connectSlowly(count: number, fromSeconds: number, toSeconds: number): void {
    for (let n = 0; n < count; n++) {
      this.runTo(fromSeconds + ((toSeconds - fromSeconds) * n) / count)
      this.connect(1)
    }
    this.runTo(toSeconds)
  }

  countOf(target: string): number {
    return this.clients.filter((client) => client.target === target && client.closed === undefined).length
  }

  eventsOf(...kinds: readonly string[]): readonly HistoryEntry[] {
    return this.world.history.filter(({ event }) => kinds.includes(event.kind))
  }
}
