import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import { ports } from '../settings.ts'
import { Link } from '../wire/link.ts'
import { isInVpc, isOfService } from './vpc.ts'

test('the virtual network is the private ranges, and the service has a subnet of them', () => {
  const hosts = ['10.1.0.30', '127.64.0.1', '172.16.0.1', '172.31.255.1', '172.32.0.1', '192.168.1.1', '203.0.113.1']
  expect(hosts.filter(isInVpc)).toEqual(['10.1.0.30', '127.64.0.1', '172.16.0.1', '172.31.255.1', '192.168.1.1'])
  expect(hosts.filter(isOfService)).toEqual(['10.1.0.30'])
})

describe('what clients may not reach', () => {
  const stage = new Stage()
  const targets = [
    ['broker-1', ports.broker],
    ['volume-2', ports.volume],
    ['nameserver-3', ports.nameserver],
    ['console-1', ports.console],
  ] as const

  test.each(targets)('%s keeps connections of the service, and of nobody else', (machine, port) => {
    const { address } = stage.plan.machines.find(({ name }) => name === machine)!
    const generations: number[] = []
    for (const host of [stage.clientHost, stage.insideHost]) {
      host.setTimer(0, () => {
        const link = Link.dial(host, { host: address, port }, {})
        host.setTimer(400, () => {
          generations.push(link.generation)
          link.close()
        })
      })
    }
    stage.run(2000)
    // Inside the link stood from the first attempt on; outside it was cut off again and again.
    expect(generations[1]).toBe(1)
    expect(generations[0]).toBeGreaterThan(1)
  })
})
