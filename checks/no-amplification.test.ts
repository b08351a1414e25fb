import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

const crash = { kind: 'crash', machines: ['proxy-2'] } as const

/** A region in which a broker is sent frames, at so many a second, over one connection. */
class Region {
  readonly stage = new Stage(clients(21))
  readonly client = this.stage.connected(20)
  private sequence = 0
  private nextConnection = 1000

  constructor() {
    this.broker.onConnect(1, 'broker-1', '', 0)
  }

  private get broker() {
    return this.stage.checks.tiers.get('broker')!
  }

  /** A second in which the broker gets so many frames, and after which the checks look. */
  second(frames: number, during?: () => void): void {
    this.stage.wait(500)
    const bytes = Buffer.alloc(8 * frames)
    for (let i = 0; i < frames; i++) bytes.writeUInt32BE(4, i * 8)
    this.broker.onReceived(1, bytes, this.stage.nowUs, this.stage.nowUs)
    this.client.publish('data/20', this.sequence++, { qos: 0 })
    during?.()
    this.stage.wait(500)
    this.look()
  }

  connect(count: number): void {
    for (let number = 0; number < count; number++) this.stage.connected(number, 4, { present: true })
  }

  dialled(count: number): void {
    for (let i = 0; i < count; i++) this.broker.onConnect(this.nextConnection++, 'broker-1', '', this.stage.nowUs)
  }

  private look(): void {
    this.stage.checks.onAct('faults', this.stage.nowUs)
  }

  /** What the nameservers are asked within this second, over a connection each time. */
  lookedUp(count: number): void {
    const nameserver = this.stage.checks.tiers.get('nameserver')!
    for (let i = 0; i < count; i++) {
      const id = this.nextConnection++
      nameserver.onConnect(id, 'nameserver-1', '', this.stage.nowUs)
      nameserver.onClosed(id, 'ended', 'peer', this.stage.nowUs)
    }
  }

  /** Ten seconds with so many frames each, and a fault. */
  static underLoad(frames: number): Region {
    const region = new Region()
    for (let i = 0; i < 12; i++) region.second(frames)
    region.stage.apply(crash)
    return region
  }
}

describe('no-amplification', () => {
  test('catches a tier that gets more than three times the requests of before', () => {
    const region = Region.underLoad(100)
    region.second(100)
    region.second(310)
    for (let i = 0; i < 4; i++) region.second(100)
    const result = region.stage.result('no-amplification')
    expect(result).toMatchObject({ verdict: 'violated', violationCount: 1 })
    expect(result.violations[0]!.text).toBe('The broker tier got 310 requests in the second from 13.000 s on; 303 would have been borne.')
    expect(result.violations[0]!.evidence.map(({ text }) => text)).toContain('until then the broker tier had at most 100 requests a second')
  })

  test('bears three more for each client that reconnects, and for each connection into the tier', () => {
    const quiet = Region.underLoad(100)
    quiet.second(360)
    for (let i = 0; i < 4; i++) quiet.second(100)
    expect(quiet.stage.verdict('no-amplification')).toBe('violated')
    const reconnecting = Region.underLoad(100)
    reconnecting.second(360, () => reconnecting.connect(20))
    for (let i = 0; i < 4; i++) reconnecting.second(100)
    expect(reconnecting.stage.verdict('no-amplification')).toBe('held')
    const dialled = Region.underLoad(100)
    dialled.second(340, () => dialled.dialled(20))
    for (let i = 0; i < 4; i++) dialled.second(100)
    expect(dialled.stage.verdict('no-amplification')).toBe('held')
  })

  test('bears more where the clients themselves send more', () => {
    const region = new Region()
    const client = region.stage.connected(0)
    let sequence = 0
    const publish = (count: number) => () => {
      for (let i = 0; i < count; i++) client.publish('data/0', sequence++, { qos: 0 })
    }
    for (let i = 0; i < 10; i++) region.second(100, publish(10))
    region.stage.apply(crash)
    region.second(900, publish(40))
    for (let i = 0; i < 4; i++) region.second(100, publish(10))
    expect(region.stage.verdict('no-amplification')).toBe('held')
  })

  test('bears more where what clients sent long ago arrives all at once: it counts when it is answered', () => {
    const verdict = (isAnswered: boolean) => {
      const region = new Region()
      const client = region.stage.connected(0)
      const publish = (sequence: number) => () => {
        client.publish('data/0', sequence)
        client.puback(sequence)
      }
      for (let i = 0; i < 10; i++) region.second(100, publish(i))
      region.stage.apply(crash)
      for (let i = 10; i < 50; i++) region.second(100, () => client.publish('data/0', i))
      region.stage.heal(crash)
      region.second(900, () => {
        if (isAnswered) for (let i = 10; i < 50; i++) client.puback(i)
      })
      for (let i = 0; i < 4; i++) region.second(100)
      return region.stage.verdict('no-amplification')
    }
    expect([verdict(true), verdict(false)]).toEqual(['held', 'violated'])
  })

  test('judges until half a minute after the region is in order again, by what was before the first fault', () => {
    const region = Region.underLoad(100)
    for (let i = 0; i < 20; i++) region.second(250)
    region.stage.heal(crash)
    region.stage.apply(crash)
    region.stage.heal(crash)
    for (let i = 0; i < 25; i++) region.second(250)
    region.second(700)
    for (let i = 0; i < 20; i++) region.second(100)
    expect(region.stage.result('no-amplification').violationCount).toBe(1)
    const late = Region.underLoad(100)
    late.stage.heal(crash)
    for (let i = 0; i < 40; i++) late.second(100)
    late.second(700)
    for (let i = 0; i < 4; i++) late.second(100)
    expect(late.stage.verdict('no-amplification')).toBe('held')
  })

  test('bears of a tier that was hardly asked before only what floods no machine: less of nameservers than of brokers', () => {
    const asked = (count: number) => {
      const region = Region.underLoad(10)
      region.second(90, () => region.lookedUp(count))
      for (let i = 0; i < 4; i++) region.second(10)
      return region.stage.verdict('no-amplification')
    }
    expect(asked(120)).toBe('held')
    expect(asked(200)).toBe('violated')
  })

  test('does not judge what the auditor asks for', () => {
    const region = Region.underLoad(100)
    for (let i = 0; i < 4; i++) region.second(100)
    region.stage.checks.onAct('drained', region.stage.nowUs)
    for (let i = 0; i < 4; i++) region.second(5000)
    expect(region.stage.verdict('no-amplification')).toBe('held')
  })

  test('is not exercised without a fault, nor where clients were connecting right before it', () => {
    const calm = new Region()
    for (let i = 0; i < 10; i++) calm.second(i * 100)
    expect(calm.stage.verdict('no-amplification')).toBe('not-exercised')
    const restless = new Region()
    for (let i = 0; i < 10; i++) restless.second(100, () => restless.connect(1))
    restless.stage.apply(crash)
    for (let i = 0; i < 4; i++) restless.second(1000)
    expect(restless.stage.verdict('no-amplification')).toBe('not-exercised')
  })
})
