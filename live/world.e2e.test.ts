/** What only the live world has: programs outside it, a folder that lasts, and faults that it cannot do honestly. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Address, Boot, Host } from '../model/host.ts'
import { type Fault, type HistoryEntry, UnsupportedFault } from '../model/world.ts'
import { createLiveWorld, type LiveWorld } from './world.ts'

describe('a live world', () => {
  let directory = ''
  let world: LiveWorld
  const hosts: Host[] = []

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'squall-live-'))
    hosts.length = 0
    world = createLiveWorld({ directory })
  })
  afterEach(async () => {
    await world.close()
    rmSync(directory, { recursive: true })
  })

  const add = (name: string, options: { address?: string; zone?: string; boot?: Boot } = {}) => {
    const boot: Boot = (host) => {
      hosts.push(host)
      return options.boot?.(host) ?? {}
    }
    world.addMachine({ name, zone: options.zone ?? 'az1', role: 'tested', address: options.address ?? '10.1.0.3', cores: 1, boot })
  }

  test('is reached by programs outside it, over TCP and datagrams, privileged ports too', async () => {
    const remotes: Address[] = []
    add('load-balancer-1', {
      boot: (host) => {
        host.listen(1883, (connection) => {
          remotes.push(connection.remote)
          return { onData: (from, bytes) => from.write(bytes), onClose: () => {} }
        })
        const socket = host.bind(53, (from, bytes) => socket.send(from, bytes))
        return {}
      },
    })
    const { host, port } = world.externalAddress('load-balancer-1', 1883)
    const client = createConnection({ host, port })
    client.write('over TCP')
    const [echo] = (await once(client, 'data')) as [Buffer]
    expect(echo.toString()).toBe('over TCP')
    expect(remotes).toEqual([{ host: '127.0.0.1', port: client.localPort }])
    client.destroy()

    const dns = world.externalAddress('load-balancer-1', 53)
    const socket = createSocket('udp4')
    socket.send('over UDP', dns.port, dns.host)
    const [answer] = (await once(socket, 'message')) as [Buffer]
    expect(answer.toString()).toBe('over UDP')
    socket.close()
  })

  test("listens at an address of one's own choice where a port is pinned to it", async () => {
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const real = { host: '127.0.0.1', port: (free.address() as { port: number }).port }
    free.close()
    await once(free, 'close')
    await world.close()
    world = createLiveWorld({ directory, pinned: [{ region: { host: '10.1.0.3', port: 1883 }, real }] })
    add('load-balancer-1', {
      boot: (host) => {
        host.listen(1883, (connection) => ({ onData: () => connection.write(Buffer.from('pinned')), onClose: () => {} }))
        return {}
      },
    })
    expect(world.externalAddress('load-balancer-1', 1883)).toEqual(real)
    expect(world.externalAddress('load-balancer-1', 1884).host).not.toBe(real.host)
    const client = createConnection(real)
    client.write('hello')
    const [answer] = (await once(client, 'data')) as [Buffer]
    expect(answer.toString()).toBe('pinned')
    client.destroy()
  })

  test('hands over what is recorded instead of keeping it, where it is asked to', async () => {
    await world.close()
    const entries: HistoryEntry[] = []
    world = createLiveWorld({ directory, recording: true, onRecorded: (entry) => entries.push(entry) })
    add('broker-1', {
      boot: (host) => {
        host.record({ kind: 'booted' })
        return {}
      },
    })
    world.apply({ kind: 'crash', machines: ['broker-1'] })
    expect(entries.map(({ sequence, machine, event }) => `${sequence} ${machine} ${event.kind}`)).toEqual([
      '0 broker-1 process-started',
      '1 broker-1 booted',
      '2 broker-1 process-ended',
      '3  fault-applied',
    ])
    expect(world.history).toEqual([])
  })

  test('goes on from the folder of an earlier world: files are there, boot ids grow', async () => {
    add('volume-1')
    hosts[0]!.files.append('v0/log', Buffer.from('kept'))
    await world.close()
    world = createLiveWorld({ directory })
    add('volume-1')
    expect(hosts[1]!.files.list('')).toEqual(['v0/log'])
    expect(hosts[1]!.bootId).toBeGreaterThan(hosts[0]!.bootId)
  })

  test('does not meet another world that uses the same addresses', async () => {
    const other = createLiveWorld({ directory: join(directory, 'other') })
    const boot = (answer: string): Boot => {
      return (host) => {
        host.listen(1883, (connection) => {
          connection.write(Buffer.from(answer))
          return { onData: () => {}, onClose: () => {} }
        })
        return {}
      }
    }
    add('broker-1', { boot: boot('this world') })
    other.addMachine({ name: 'broker-1', zone: 'az1', role: 'tested', address: '10.1.0.3', cores: 1, boot: boot('other world') })
    for (const [at, answer] of [[world, 'this world'] as const, [other, 'other world'] as const]) {
      const { host, port } = at.externalAddress('broker-1', 1883)
      const client = createConnection({ host, port })
      const [bytes] = (await once(client, 'data')) as [Buffer]
      expect(bytes.toString()).toBe(answer)
      client.destroy()
    }
    await other.close()
  })

  test('ends a process whose port a program outside holds, and no other', async () => {
    const ends: string[] = []
    world.observe({ onProcessEnded: (machine, cause, error) => ends.push(`${machine} ${cause} ${error?.includes('EADDRINUSE')}`) })
    add('broker-1')
    add('broker-2', { address: '10.2.0.3' })
    const squatter = createServer()
    squatter.listen(world.externalAddress('broker-1', 1883).port, world.externalAddress('broker-1', 1883).host)
    await once(squatter, 'listening')
    for (const host of hosts) host.listen(1883, () => undefined)
    await sleep(50)
    expect(ends).toEqual(['broker-1 threw true'])
    squatter.close()
  })

  test('takes a zone down as a crash of every machine in it, and back', () => {
    const ends: string[] = []
    world.observe({ onProcessEnded: (machine, cause) => ends.push(`${machine} ${cause}`) })
    add('broker-1')
    add('proxy-1', { address: '10.1.0.4' })
    add('broker-2', { address: '10.2.0.3', zone: 'az2' })
    const heal = world.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })
    expect(ends).toEqual(['broker-1 injected', 'proxy-1 injected'])
    expect(hosts).toHaveLength(3)
    const healCrash = world.apply({ kind: 'crash', machines: ['broker-1'] })
    heal()
    expect(hosts.slice(3).map((host) => host.machine)).toEqual(['proxy-1'])
    healCrash()
    expect(hosts.slice(4).map((host) => host.machine)).toEqual(['broker-1'])
  })

  test.each<Fault>([
    { kind: 'zone-outage', zone: 'az1', form: 'isolated' },
    { kind: 'power-loss', machines: ['broker-1'] },
    { kind: 'partition', from: ['broker-1'], to: ['broker-1'], bothWays: true },
    { kind: 'link', from: ['broker-1'], to: ['broker-1'], addedLatencyMs: 10, lossProbability: 0 },
    { kind: 'sync-failure', machines: ['broker-1'], probability: 1 },
    { kind: 'disk-stall', machines: ['broker-1'] },
    { kind: 'clock-jump', machines: ['broker-1'], byMs: 1000 },
  ])('says that it cannot do $kind', (fault) => {
    const seen: string[] = []
    world.observe({ onFault: (applied) => seen.push(applied.kind) })
    add('broker-1')
    expect(() => world.apply(fault)).toThrow(UnsupportedFault)
    expect(seen).toEqual([])
    expect(hosts).toHaveLength(1)
  })

  test('refuses machines that share a name or an address, and names it does not know', () => {
    add('broker-1')
    expect(() => add('broker-1', { address: '10.1.0.4' })).toThrow('name and address')
    expect(() => add('broker-2')).toThrow('name and address')
    expect(() => world.apply({ kind: 'crash', machines: ['broker-9'] })).toThrow('broker-9')
    expect(() => world.externalAddress('broker-9', 1883)).toThrow('broker-9')
  })
})
