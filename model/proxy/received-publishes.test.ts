/** The packet ids of QoS 2 publishes, asked for over a link that loses replies, breaks and changes owners; a small session shard answers. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Host } from '../host.ts'
import type { Outcome } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'
import type { BrokerLink } from './broker-links.ts'
import { ReceivedPublishes } from './received-publishes.ts'
import { ShardDomain } from './shard-domain.ts'

type Answer = Parameters<Parameters<ReceivedPublishes['receive']>[1]>[0]
type Request = MessageOf<'receivePublish'> | MessageOf<'releasePublish'>

interface Call {
  readonly request: Request
  readonly done: (outcome: Outcome<Message>) => void
  reply: Message | undefined
  over: boolean
}

/** A session shard, and all of the way to it. */
class Stage {
  readonly domain: ShardDomain
  readonly link = {
    up: true,
    request: (request: Request, _timeoutMs: number, done: Call['done']) => {
      this.calls.push({ request, done, reply: undefined, over: false })
    },
  }
  closed = false
  supersededTimes = 0
  refreshes = 0
  unknownReleases = 0
  calls: Call[] = []
  timers: (() => void)[] = []
  readonly messageIds = new Map<number, number>()
  private lastMessageId = 0
  readonly publishes: ReceivedPublishes

  constructor() {
    const host = {
      nowMs: () => 0,
      random: () => ({ next: () => 0 }),
      setTimer: (_delayMs: number, callback: () => void) => {
        this.timers.push(callback)
        return { cancel: () => (this.timers = this.timers.filter((timer) => timer !== callback)) }
      },
    } as unknown as Host
    this.domain = new ShardDomain(host, 3, 1000, () => this.refreshes++)
    this.domain.broker = { link: this.link } as unknown as BrokerLink
    this.publishes = new ReceivedPublishes(1000, {
      clientId: 'publisher',
      epoch: 4,
      sessionDomain: this.domain,
      isClosed: () => this.closed,
      superseded: () => {
        this.supersededTimes++
        this.closed = true
      },
    })
  }

  /** The shard carries out the next call that it has not. */
  carryOut(as: 'owner' | 'not-owner' | 'fenced' | 'quota' = 'owner'): Call | undefined {
    const call = this.calls.find((one) => one.reply === undefined)
    if (call !== undefined) call.reply = this.replyTo(call.request, as)
    return call
  }

  private replyTo(request: Request, as: 'owner' | 'not-owner' | 'fenced' | 'quota'): Message {
    const { packetId } = request
    if (request.name === 'releasePublish') {
      if (as === 'not-owner' || as === 'fenced') return { name: 'publishReleased', outcome: as }
      const known = this.messageIds.get(packetId)
      if (known === undefined) this.unknownReleases++
      else if (request.messageId === 0 || request.messageId === known) this.messageIds.delete(packetId)
      return { name: 'publishReleased', outcome: 'released' }
    }
    if (as !== 'owner') return { name: 'publishReceived', outcome: as, messageId: 0, openFrom: 0 }
    if (!this.messageIds.has(packetId)) this.messageIds.set(packetId, ++this.lastMessageId)
    return {
      name: 'publishReceived',
      outcome: 'received',
      messageId: this.messageIds.get(packetId)!,
      openFrom: Math.min(...this.messageIds.values()),
    }
  }

  /** The first reply that is on its way arrives. */
  deliver(): boolean {
    const call = this.calls.find((one) => one.reply !== undefined)
    if (call === undefined) return false
    this.calls.splice(this.calls.indexOf(call), 1)
    if (!call.over) call.done({ kind: 'reply', message: call.reply! })
    return true
  }

  /** Carries out all calls and brings the replies. */
  answerAll(): void {
    while (this.carryOut() !== undefined || this.deliver());
  }

  /** Time runs out for the first call that has no outcome; the shard may carry it out all the same. */
  timeOut(): void {
    const call = this.calls.find((one) => !one.over)
    if (call === undefined) return
    call.over = true
    call.done({ kind: 'unknown' })
  }

  break(): void {
    this.link.up = false
    const calls = this.calls
    this.calls = []
    for (const call of calls) if (!call.over) call.done({ kind: 'unknown' })
  }

  newTerm(): void {
    this.link.up = true
    this.domain.beginTerm()
    this.publishes.restart()
  }

  fireTimers(): void {
    for (const timer of [...this.timers]) {
      if (!this.timers.includes(timer)) continue // cancelled by one before
      this.timers = this.timers.filter((other) => other !== timer)
      timer()
    }
  }
}

const messageIdIn = (answer: Answer | undefined) => (answer?.kind === 'received' ? answer.messageId : undefined)

describe('a QoS 2 publish', () => {
  test('gets its message id from the session shard, the same for the same packet id until it is released, a new one then [MQTT-4.3.3-12]', () => {
    const stage = new Stage()
    const ids: (number | undefined)[] = []
    const ask = () => {
      stage.publishes.receive(9, (answer) => ids.push(messageIdIn(answer)))
      stage.answerAll()
    }
    ask()
    ask()
    expect(stage.calls).toEqual([])
    let released = false
    stage.publishes.release(9, 1, () => {
      released = true
    })
    expect(stage.calls[0]!.request).toMatchObject({ name: 'releasePublish', packetId: 9, messageId: 1 })
    stage.answerAll()
    expect(released).toBe(true)
    ask()
    expect(ids).toEqual([1, 1, 2])
  })

  test('asks in the name of the session, under its epoch, and hears from where on message ids are open', () => {
    const stage = new Stage()
    const answers: Answer[] = []
    stage.publishes.receive(9, (answer) => answers.push(answer))
    expect(stage.calls[0]!.request).toEqual({ name: 'receivePublish', shard: 3, clientId: 'publisher', epoch: 4, packetId: 9 })
    stage.publishes.receive(10, (answer) => answers.push(answer))
    stage.answerAll()
    expect(answers).toEqual([
      { kind: 'received', messageId: 1, openFrom: 1 },
      { kind: 'received', messageId: 2, openFrom: 1 },
    ])
  })

  test('of a session with too many open hears so, after those before it', () => {
    const stage = new Stage()
    const answers: string[] = []
    stage.publishes.release(7, 0, () => {})
    stage.answerAll()
    stage.publishes.receive(1, ({ kind }) => answers.push(`1 ${kind}`))
    stage.publishes.receive(2, ({ kind }) => answers.push(`2 ${kind}`))
    const [first, second] = stage.calls
    second!.done({ kind: 'reply', message: { name: 'publishReceived', outcome: 'quota', messageId: 0, openFrom: 0 } })
    expect(answers).toEqual([])
    first!.done({ kind: 'reply', message: { name: 'publishReceived', outcome: 'received', messageId: 8, openFrom: 8 } })
    expect(answers).toEqual(['1 received', '2 quota'])
  })
})

test('a question that a new term has asked again is not asked a third time when the first call runs out of time', () => {
  const stage = new Stage()
  stage.publishes.receive(1, () => {})
  stage.newTerm()
  expect(stage.calls.length).toBe(2)
  stage.timeOut()
  expect(stage.timers).toEqual([])
  expect(stage.refreshes).toBe(0)
})

describe('a release', () => {
  test('of a packet id that stands for nothing, or for another message, is done', () => {
    const stage = new Stage()
    stage.messageIds.set(6, 77)
    const done: number[] = []
    stage.publishes.release(5, 0, () => done.push(5))
    stage.publishes.release(6, 76, () => done.push(6))
    stage.answerAll()
    expect(done).toEqual([5, 6])
    expect([...stage.messageIds]).toEqual([[6, 77]])
  })

  test('whose first reply was lost, or that one who is not the owner refused, is asked for again', () => {
    for (const first of ['owner', 'not-owner'] as const) {
      const stage = new Stage()
      stage.messageIds.set(5, 77)
      let done = 0
      stage.publishes.release(5, 77, () => done++)
      stage.carryOut(first)
      if (first === 'owner') {
        stage.timeOut()
        stage.calls = []
      } else stage.deliver()
      expect([done, stage.refreshes]).toEqual([0, 1])
      stage.fireTimers()
      stage.answerAll()
      expect([done, [...stage.messageIds]]).toEqual([1, []])
    }
  })
})

test('a release waits until a repeated publish of its packet id has its answer: asked again after the release, that would be a new message [MQTT-4.3.3-10]', () => {
  const stage = new Stage()
  const ids: (number | undefined)[] = []
  for (let times = 0; times < 2; times++) stage.publishes.receive(9, (answer) => ids.push(messageIdIn(answer)))
  stage.carryOut()
  stage.deliver()
  stage.publishes.release(9, 1, () => {})
  stage.publishes.receive(10, (answer) => ids.push(messageIdIn(answer)))
  expect(stage.calls.map(({ request }) => request.name)).toEqual(['receivePublish'])
  stage.timeOut()
  stage.calls = []
  stage.fireTimers()
  stage.answerAll()
  expect(ids).toEqual([1, 1, 2])
  expect([...stage.messageIds]).toEqual([[10, 2]])
})

describe('the end of a connection', () => {
  test('that another has superseded comes by the refusal of its epoch, for either question', () => {
    for (const ask of ['receive', 'release'] as const) {
      const stage = new Stage()
      if (ask === 'receive') stage.publishes.receive(1, () => expect.unreachable())
      else stage.publishes.release(1, 0, () => expect.unreachable())
      stage.carryOut('fenced')
      stage.deliver()
      expect(stage.supersededTimes).toBe(1)
    }
  })

  test('leaves questions without an answer and asks none again', () => {
    const stage = new Stage()
    stage.publishes.receive(1, () => expect.unreachable())
    stage.publishes.receive(2, () => expect.unreachable())
    stage.carryOut()
    stage.closed = true
    stage.deliver()
    stage.timeOut()
    expect(stage.timers).toEqual([])
    stage.calls = []
    stage.newTerm()
    expect(stage.calls).toEqual([])
  })
})

type Step = 'receive' | 'repeat' | 'release' | 'carry out' | 'deliver' | 'time out' | 'break' | 'new term' | 'not owner' | 'timers'
const step = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<Step>('receive', 'repeat', 'release') },
  { weight: 6, arbitrary: fc.constantFrom<Step>('carry out', 'deliver') },
  { weight: 2, arbitrary: fc.constantFrom<Step>('time out', 'break', 'new term', 'not owner', 'timers') },
)

test('under lost replies, broken links and new owners each question is answered once, in the order of asking, and a packet id is one message until released [MQTT-4.3.3-10]', () => {
  let repeatedReleases = 0
  fc.assert(
    fc.property(fc.array(fc.record({ step, packetId: fc.integer({ min: 1, max: 3 }) }), { minLength: 40, maxLength: 150 }), (steps) => {
      const stage = new Stage()
      const asked: number[] = []
      const answered: number[] = []
      /** The client's view of a packet id: the message that it stands for, once known. */
      const open = new Map<number, { messageId: number | undefined; releasing: boolean }>()
      const everyId: number[] = []
      const receive = (packetId: number) => {
        const publication = open.get(packetId) ?? { messageId: undefined, releasing: false }
        open.set(packetId, publication)
        const question = asked.push(asked.length)
        stage.publishes.receive(packetId, (answer) => {
          answered.push(question - 1)
          const messageId = messageIdIn(answer)!
          if (publication.messageId === undefined) {
            expect(everyId).not.toContain(messageId)
            everyId.push(messageId)
          } else expect(messageId).toBe(publication.messageId)
          publication.messageId = messageId
        })
      }
      const release = (packetId: number) => {
        const publication = open.get(packetId)!
        publication.releasing = true
        const question = asked.push(asked.length)
        stage.publishes.release(packetId, publication.messageId!, () => {
          answered.push(question - 1)
          expect(stage.messageIds.get(packetId)).not.toBe(publication.messageId)
          open.delete(packetId)
        })
      }
      for (const { step, packetId } of steps) {
        const publication = open.get(packetId)
        if (step === 'receive' && publication === undefined) receive(packetId)
        if (step === 'repeat' && publication?.releasing === false) receive(packetId)
        if (step === 'release' && publication?.releasing === false && publication.messageId !== undefined) release(packetId)
        if (step === 'carry out') stage.carryOut()
        if (step === 'deliver') stage.deliver()
        if (step === 'time out') stage.timeOut()
        if (step === 'break') stage.break()
        if (step === 'new term') stage.newTerm()
        if (step === 'not owner') stage.carryOut('not-owner')
        if (step === 'timers') stage.fireTimers()
        expect(answered).toEqual(asked.slice(0, answered.length))
      }
      stage.newTerm()
      for (let round = 0; round < 3; round++) {
        stage.answerAll()
        stage.fireTimers()
      }
      expect(answered).toEqual(asked)
      expect(stage.supersededTimes).toBe(0)
      repeatedReleases += stage.unknownReleases
    }),
    { numRuns: 300 },
  )
  // Else no reply to a release was ever lost.
  expect(repeatedReleases).toBeGreaterThan(0)
})
