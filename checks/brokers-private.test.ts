import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

class Dialler {
  readonly stage: Stage
  private next = 1

  constructor(intruders: readonly string[] = []) {
    this.stage = new Stage(clients(1), { intruders })
  }

  dial(target: string): number {
    const id = this.next++
    this.stage.checks.intruders.onConnect(id, 'intruder-1', target, this.stage.nowUs)
    return id
  }

  opened(id: number): void {
    this.stage.checks.intruders.onOpen(id, this.stage.nowUs)
  }

  closed(id: number, by: 'self' | 'peer'): void {
    this.stage.checks.intruders.onClosed(id, 'reset', by, this.stage.nowUs)
  }
}

describe('brokers-private', () => {
  test('holds where whoever dials is refused, or cut off after the handshake', () => {
    const dialler = new Dialler()
    const refused = dialler.dial('broker-1')
    dialler.closed(refused, 'peer')
    const reset = dialler.dial('broker-2')
    dialler.opened(reset)
    dialler.stage.wait(40)
    dialler.closed(reset, 'peer')
    expect(dialler.stage.result('brokers-private')).toMatchObject({ verdict: 'held', exercised: 2 })
  })

  test('catches an answer of a single byte', () => {
    const dialler = new Dialler()
    const id = dialler.dial('broker-2')
    dialler.opened(id)
    dialler.stage.checks.intruders.onReceived(id, Buffer.alloc(1), dialler.stage.nowUs, dialler.stage.nowUs)
    const { verdict, violations } = dialler.stage.result('brokers-private')
    expect(verdict).toBe('violated')
    expect(violations.map(({ text, signature }) => [text, signature])).toEqual([
      ['intruder-1 reached broker-2 from outside: it was answered with 1 bytes.', 'brokers-private: a stranger reaches a broker'],
    ])
  })

  test('catches a connection that is kept open, however it ends', () => {
    for (const by of ['self', 'peer'] as const) {
      const dialler = new Dialler()
      dialler.stage.wait(60_000)
      const id = dialler.dial('volume-1')
      dialler.opened(id)
      dialler.stage.wait(4000)
      dialler.closed(id, by)
      expect(dialler.stage.verdict('brokers-private')).toBe('violated')
    }
  })

  test('does not blame a machine that is paused for not turning anybody away', () => {
    const dialler = new Dialler()
    dialler.stage.apply({ kind: 'pause', machines: ['broker-1'] })
    const id = dialler.dial('broker-1')
    dialler.opened(id)
    dialler.stage.wait(4000)
    dialler.closed(id, 'self')
    expect(dialler.stage.verdict('brokers-private')).toBe('not-exercised')
  })

  test('catches a connection that is cut off late', () => {
    const dialler = new Dialler()
    dialler.stage.wait(60_000)
    const id = dialler.dial('console-1')
    dialler.opened(id)
    dialler.stage.wait(900)
    dialler.closed(id, 'peer')
    expect(dialler.stage.verdict('brokers-private')).toBe('violated')
  })

  test('catches a datagram that is answered', () => {
    const { stage } = new Dialler()
    const { strangers } = stage.checks
    strangers.sent('intruder-1', 'load-balancer-1', stage.nowUs)
    expect(stage.result('brokers-private')).toMatchObject({ verdict: 'held', exercised: 1 })
    strangers.answered('intruder-1', 'load-balancer-1', 12, stage.nowUs)
    expect(stage.result('brokers-private').violations[0]!.text).toBe(
      'load-balancer-1 answered a datagram that intruder-1 sent from outside.',
    )
  })

  test('is not exercised where one of those who try never could', () => {
    const dialler = new Dialler(['intruder-1', 'intruder-2'])
    dialler.closed(dialler.dial('broker-1'), 'peer')
    expect(dialler.stage.verdict('brokers-private')).toBe('not-exercised')
  })

  test('is not exercised where nobody tries', () => {
    expect(new Stage(clients(1)).verdict('brokers-private')).toBe('not-exercised')
  })
})
