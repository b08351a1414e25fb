/** Many sessions attached by one request, as a proxy asks when the shard has a new owner. */
import { describe, expect, test } from 'vitest'
import type { MessageOf } from '../wire/messages.ts'
import { ShardStage, StageLink, subscription } from './shard-stage.test-support.ts'

type Session = MessageOf<'attach'>['sessions'][number]

function session(clientId: string, handle: number, about: Partial<Session> = {}): Session {
  return { clientId, incarnation: 1, epoch: 1, version: 1, handle, subscriptions: [subscription('t')], touched: [], ...about }
}

function attach(stage: ShardStage, link: StageLink, ...sessions: readonly Session[]) {
  return stage.ask<MessageOf<'attached'>>({ name: 'attach', shard: 0, sessions }, link)
}

describe('sessions attached together', () => {
  test('are answered in the order of the request, once all of it is durable, and each gets its own messages', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.log.held = true
    const result = attach(stage, link, session('a', 1), session('b', 2), session('nobody', 3, { subscriptions: [] }))
    expect(result.answer).toBeUndefined()
    stage.log.held = false
    stage.log.sync()
    expect(result.answer).toEqual({
      name: 'attached',
      outcome: 'done',
      sessions: [
        { outcome: 'done', queueEnd: 1 },
        { outcome: 'done', queueEnd: 1 },
        { outcome: 'done', queueEnd: 0 },
      ],
    })
    stage.publish('p', { topic: 't', text: 'x' })
    expect([link.texts(1), link.texts(2), link.texts(3)]).toEqual([['x'], ['x'], []])
  })

  test('one of an older epoch is fenced, and the others are not', () => {
    const stage = new ShardStage()
    stage.attach(new StageLink(), 'b', 9, [subscription('t')], { epoch: 2 })
    const link = new StageLink()
    const { answer } = attach(stage, link, session('a', 1), session('b', 2), session('c', 3))
    expect(answer!.sessions.map(({ outcome }) => outcome)).toEqual(['done', 'fenced', 'done'])
    stage.publish('p', { topic: 't', text: 'x' })
    expect([link.texts(1), link.texts(2), link.texts(3)]).toEqual([['x'], [], ['x']])
  })

  test('two connections of one session, whose messages go to the newer', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    const { answer } = attach(stage, link, session('a', 1), session('a', 2, { epoch: 2 }))
    expect(answer!.outcome).toBe('done')
    stage.publish('p', { topic: 't', text: 'x' })
    expect([link.texts(1), link.texts(2)]).toEqual([[], ['x']])
  })
})
