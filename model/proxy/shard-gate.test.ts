import { describe, expect, test } from 'vitest'
import type { Link, Outcome } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'
import { ShardGate } from './shard-gate.ts'

type Answer = Outcome<MessageOf<'published'>>
const STORED: Answer = { kind: 'reply', message: { name: 'published', outcome: 'stored', offset: 0, matched: false } }
const NOT_OWNER: Answer = { kind: 'reply', message: { name: 'published', outcome: 'not-owner', offset: 0, matched: false } }

class Stage {
  readonly gate = new ShardGate()
  readonly sent: number[] = []
  readonly answered: string[] = []
  readonly idle = new Set<number>()
  private readonly calls = new Map<number, (outcome: Answer) => void>()
  private readonly link = {
    request: ({ sequence }: MessageOf<'publish'>, _timeoutMs: number, done: (outcome: Answer) => void) => {
      this.sent.push(sequence)
      this.calls.set(sequence, done)
    },
  } as unknown as Link

  ask(...sequences: readonly number[]): void {
    for (const sequence of sequences) {
      const make = () => (this.idle.has(sequence) ? undefined : publish(sequence))
      this.gate.ask<'publish'>(this.link, make, 1000, (outcome) => {
        this.answered.push(`${sequence} ${outcome.kind === 'reply' ? outcome.message.outcome : outcome.kind}`)
      })
    }
  }

  answer(sequence: number, outcome: Answer): void {
    this.calls.get(sequence)!(outcome)
  }
}

function publish(sequence: number): MessageOf<'publish'> {
  const message = Buffer.alloc(0)
  return { name: 'publish', shard: 0, clientId: 'c', epoch: 1, sequence, confirmed: 0, messageId: 0, openFrom: 0, message }
}

describe('a shard of which nothing is known yet', () => {
  test('is asked once; the others follow its answer, in order, and from then on nobody waits', () => {
    const stage = new Stage()
    stage.ask(1, 2, 3)
    expect(stage.sent).toEqual([1])
    stage.answer(1, STORED)
    stage.ask(4)
    expect(stage.sent).toEqual([1, 2, 3, 4])
  })

  test('that refuses, or does not answer, is not asked by the others', () => {
    for (const outcome of [NOT_OWNER, { kind: 'unknown' }] as const) {
      const stage = new Stage()
      stage.ask(1, 2, 3)
      stage.answer(1, outcome)
      expect(stage.sent).toEqual([1])
      expect(stage.answered.slice(0, 2)).toEqual(['2 not-sent', '3 not-sent'])
      stage.ask(4, 5)
      expect(stage.sent).toEqual([1, 4])
    }
  })

  test('is not asked what has become idle while it waited', () => {
    const stage = new Stage()
    stage.ask(1, 2, 3)
    stage.idle.add(2)
    stage.answer(1, STORED)
    expect(stage.sent).toEqual([1, 3])
    expect(stage.answered).toEqual(['2 not-sent', '1 stored'])
  })
})

describe('a shard that has answered', () => {
  const open = () => {
    const stage = new Stage()
    stage.ask(1)
    stage.answer(1, STORED)
    return stage
  }

  test('is asked by one again after a call without a definite answer, and before a retry', () => {
    const refused = open()
    refused.ask(2)
    refused.answer(2, NOT_OWNER)
    refused.ask(3, 4)
    expect(refused.sent).toEqual([1, 2, 3])
    const doubted = open()
    doubted.gate.doubt()
    doubted.ask(3, 4)
    expect(doubted.sent).toEqual([1, 3])
  })

  test('is open again as soon as an earlier call has its answer', () => {
    const stage = open()
    stage.ask(2, 3)
    stage.answer(2, NOT_OWNER)
    stage.ask(4, 5)
    stage.answer(3, STORED)
    expect(stage.sent).toEqual([1, 2, 3, 4, 5])
    stage.answer(4, STORED)
    stage.ask(6)
    expect(stage.sent.at(-1)).toBe(6)
  })
})

test('a new term gives back what is held, and takes no notice of the answers of the former one', () => {
  const stage = new Stage()
  stage.ask(1, 2)
  stage.gate.onTerm()
  expect(stage.answered).toEqual(['2 not-sent'])
  stage.ask(3, 4)
  stage.answer(1, STORED)
  expect(stage.sent).toEqual([1, 3])
  stage.answer(3, STORED)
  expect(stage.sent).toEqual([1, 3, 4])
})
