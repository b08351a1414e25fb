import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { clients, Stage } from './stage.test-support.ts'

const crash: Fault = { kind: 'crash', machines: ['proxy-1'] }

/** A region with an instance group, of which a proxy dies. */
class Group {
  readonly stage = new Stage(clients(1))
  private probes = 0

  constructor() {
    this.stage.wait(10_000)
  }

  kill(): void {
    this.stage.apply(crash)
    this.stage.checks.world.onProcessEnded!('proxy-1', 'injected', undefined, this.stage.nowUs)
  }

  start(name: string): void {
    this.stage.checks.world.onProcessStarted!(name, this.stage.nowUs)
  }

  /** The nodes probe it, and get through. */
  lead(name: string, nodes = ['load-balancer-1', 'load-balancer-2', 'load-balancer-3']): void {
    for (const node of nodes) {
      this.probes++
      for (const balancers of this.stage.checks.balancers) {
        balancers.onConnect(this.probes, node, `probe ${name}`, this.stage.nowUs)
        balancers.onOpen(this.probes, this.stage.nowUs)
        balancers.onClosed(this.probes, 'reset', 'self', this.stage.nowUs)
      }
    }
  }

  /** So many seconds pass, in each of which the nodes probe these. */
  pass(seconds: number, names: readonly string[] = [], nodes?: readonly string[]): void {
    for (let second = 0; second < seconds; second++) {
      this.stage.wait(1000)
      for (const name of names) this.lead(name, nodes === undefined ? undefined : [...nodes])
      this.stage.checks.onAct('faults', this.stage.nowUs)
    }
  }
}

describe('replaced', () => {
  test('catches a loss that nobody makes good', () => {
    const group = new Group()
    group.kill()
    group.stage.wait(76_000)
    const { verdict, violations } = group.stage.result('replaced')
    expect(verdict).toBe('violated')
    expect(violations[0]!.text).toBe('proxy-1 was lost for longer than 75.000 s by 86.000 s, and 0 of 1 replacements stand in place.')
  })

  test('holds while one that stood by runs and every load balancer leads to it', () => {
    const group = new Group()
    group.kill()
    group.stage.wait(40_000)
    group.start('proxy-4')
    group.pass(60, ['proxy-4'])
    expect(group.stage.result('replaced')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('asks that the load balancers know of it', () => {
    const group = new Group()
    group.kill()
    group.stage.wait(40_000)
    group.start('proxy-4')
    group.stage.wait(36_000)
    expect(group.stage.result('replaced').violations[0]!.evidence.map(({ text }) => text)).toContain(
      'proxy-4 runs, and load-balancer-1, load-balancer-2, load-balancer-3 did not probe it of late',
    )
  })

  test('is not exercised by a proxy that is back in time, or one that was taken out on purpose', () => {
    const back = new Group()
    back.kill()
    back.stage.wait(30_000)
    back.stage.heal(crash)
    back.start('proxy-1')
    back.stage.wait(100_000)
    expect(back.stage.verdict('replaced')).toBe('not-exercised')
    const retired = new Group()
    retired.stage.apply({ kind: 'scale-in', machines: ['proxy-1'], graceMs: 1000 })
    retired.stage.checks.world.onProcessEnded!('proxy-1', 'stopped', undefined, retired.stage.nowUs)
    retired.stage.wait(100_000)
    expect(retired.stage.verdict('replaced')).toBe('not-exercised')
  })

  test('gives the group its time from when a majority of the controllers is back', () => {
    const outages = ['az1', 'az2'].map((zone): Fault => ({ kind: 'zone-outage', zone, form: 'control-plane', roles: ['instance-group'] }))
    const group = new Group()
    for (const outage of outages) group.stage.apply(outage)
    group.kill()
    group.stage.wait(200_000)
    group.stage.heal(outages[0]!)
    group.stage.wait(70_000)
    expect(group.stage.verdict('replaced')).toBe('not-exercised')
    group.stage.wait(10_000)
    expect(group.stage.verdict('replaced')).toBe('violated')
  })

  test('asks for no more than there is room for in zones that are well', () => {
    const group = new Group()
    group.stage.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })
    group.stage.apply({ kind: 'crash', machines: ['proxy-2', 'proxy-3'] })
    for (const name of ['proxy-5', 'proxy-6']) group.start(name)
    group.pass(100, ['proxy-5', 'proxy-6'])
    expect(group.stage.result('replaced')).toMatchObject({ verdict: 'held', exercised: 3 })
  })

  test('goes on asking while the loss lasts', () => {
    const group = new Group()
    group.kill()
    group.stage.wait(40_000)
    group.start('proxy-4')
    group.pass(50, ['proxy-4'])
    group.pass(10)
    expect(group.stage.result('replaced')).toMatchObject({ verdict: 'violated', violationCount: 1 })
  })

  test('asks every load balancer that nothing has troubled of late, and no other', () => {
    const twoOfThree = ['load-balancer-1', 'load-balancer-2']
    const one: Fault = { kind: 'crash', machines: ['load-balancer-3'] }
    const [told, troubled] = [new Group(), new Group()]
    troubled.stage.apply(one)
    for (const group of [told, troubled]) {
      group.kill()
      group.start('proxy-4')
      group.pass(100, ['proxy-4'], twoOfThree)
    }
    expect([told, troubled].map(({ stage }) => stage.verdict('replaced'))).toEqual(['violated', 'held'])
  })

  test('catches more replacements than losses, ordered or running', () => {
    const [running, ordered] = [new Group(), new Group()]
    for (const group of [running, ordered]) {
      group.kill()
      group.start('proxy-4')
    }
    running.start('proxy-5')
    ordered.stage.record('instance-group-1', { kind: 'replacement-changed', instance: 'proxy-5', zone: 'az2', to: 'starting' })
    for (const { stage } of [running, ordered]) {
      stage.wait(1000)
      expect(stage.result('replaced').violations.map(({ signature }) => signature)).toEqual(['replaced: more replacements than losses'])
    }
  })

  test('asks that a replacement goes when the loss is over, and gives it the time to', () => {
    const group = new Group()
    group.kill()
    group.start('proxy-4')
    group.pass(30, ['proxy-4'])
    group.stage.heal(crash)
    group.start('proxy-1')
    group.pass(100, ['proxy-4'])
    expect(group.stage.verdict('replaced')).toBe('not-exercised')
    group.pass(20, ['proxy-4'])
    expect(group.stage.result('replaced').violations.map(({ signature }) => signature)).toEqual([
      'replaced: a replacement stays when the loss is over',
    ])
  })
})
