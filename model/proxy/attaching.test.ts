import { expect, test } from 'vitest'
import type { Host } from '../host.ts'
import type { Outcome } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { SessionAttach } from './attaching.ts'
import type { BrokerLink } from './broker-links.ts'
import { ShardDomain } from './shard-domain.ts'

interface Call {
  readonly clientIds: readonly string[]
  readonly done: (outcome: Outcome<MessageOf<'attached'>>) => void
}

class Stage {
  readonly calls: Call[] = []
  readonly answered: string[] = []
  readonly gone = new Set<string>()
  filter = 'a'
  private readonly domain: ShardDomain

  constructor() {
    const host = { nowMs: () => 0, random: () => ({ next: () => 0 }), setTimer: () => ({ cancel: () => {} }) } as unknown as Host
    this.domain = new ShardDomain(host, 3, 1000, () => {})
    const request = ({ sessions }: MessageOf<'attach'>, _timeoutMs: number, done: Call['done']) => {
      this.calls.push({ clientIds: sessions.map(({ clientId }) => clientId), done })
    }
    this.domain.broker = { link: { up: true, request } } as unknown as BrokerLink
  }

  attach(...clientIds: readonly string[]): void {
    for (const clientId of clientIds) {
      this.domain.attacher.attach({
        make: () => (this.gone.has(clientId) ? undefined : this.session(clientId)),
        done: (answer) => this.answered.push(`${clientId} ${answer === undefined ? 'unanswered' : answer.queueEnd}`),
      })
    }
  }

  /** Each queue ends at the number in its client's name. */
  answer(call: number, outcome: 'done' | 'not-owner' = 'done'): void {
    const { clientIds, done } = this.calls[call]!
    const sessions = outcome === 'done' ? clientIds.map((id) => ({ outcome, queueEnd: Number(id.slice(1)) })) : []
    done({ kind: 'reply', message: { name: 'attached', outcome, sessions } })
  }

  private session(clientId: string): SessionAttach {
    const { filter } = this
    const subscription = { filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 }
    return { clientId, incarnation: 1, epoch: 1, version: 1, handle: 1, subscriptions: [subscription], touched: [] }
  }
}

const clients = (from: number, count: number) => Array.from({ length: count }, (_, at) => `c${from + at}`)

test('sessions that wait for a new owner leave together once the first has its answer, and each gets its own', () => {
  const stage = new Stage()
  stage.attach(...clients(0, 1101))
  expect(stage.calls.map(({ clientIds }) => clientIds.length)).toEqual([1])
  stage.answer(0)
  expect(stage.calls.map(({ clientIds }) => clientIds.length)).toEqual([1, 500, 500, 100])
  for (const call of [1, 2, 3]) stage.answer(call)
  expect(stage.answered).toEqual(clients(0, 1101).map((id) => `${id} ${id.slice(1)}`))
})

test('a shard that answers is asked for each session at once', () => {
  const stage = new Stage()
  stage.attach('c0')
  stage.answer(0)
  stage.attach('c1', 'c2')
  expect(stage.calls.map(({ clientIds }) => clientIds)).toEqual([['c0'], ['c1'], ['c2']])
})

test('whose client has gone while it was held is left out', () => {
  const stage = new Stage()
  stage.attach(...clients(0, 4))
  stage.gone.add('c1').add('c2')
  stage.answer(0)
  stage.answer(1)
  expect(stage.calls[1]!.clientIds).toEqual(['c3'])
  expect(stage.answered).toEqual(['c0 0', 'c3 3'])
})

test('all that were held are told that they have no answer when the owner refuses', () => {
  const stage = new Stage()
  stage.attach(...clients(0, 3))
  stage.answer(0, 'not-owner')
  expect(stage.answered.toSorted()).toEqual(['c0 unanswered', 'c1 unanswered', 'c2 unanswered'])
  stage.attach('c3', 'c4')
  expect(stage.calls.map(({ clientIds }) => clientIds)).toEqual([['c0'], ['c3']])
})

test('long filters make more requests, none of them beyond a frame', () => {
  const stage = new Stage()
  stage.filter = 'x'.repeat(60_000)
  stage.attach(...clients(0, 51))
  stage.answer(0)
  expect(stage.calls.map(({ clientIds }) => clientIds.length).toSorted()).toEqual([1, 14, 18, 18])
  for (const call of [1, 2, 3]) stage.answer(call)
  expect(new Set(stage.answered)).toEqual(new Set(clients(0, 51).map((id) => `${id} ${id.slice(1)}`)))
})
