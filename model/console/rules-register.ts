/**
 * One register for all consoles of a region, which holds the rules: a value that is changed by a function of what it was, in one order, by whichever console is asked.
 *
 * This is CASPaxos (Rystsov 2018, https://arxiv.org/abs/1802.07000): a proposer has a majority promise its ballot, takes the value of the highest ballot among what they had accepted,
 * changes it, and has a majority accept the result. No leader, no lease, nothing to do while nobody changes anything.
 * Promises: a change that was answered `chosen` is in every later value, whatever minority of consoles is lost, and as long as no disk is. One that was answered `out-of-reach`
 * may be in them or not.
 */
import type { Host } from '../host.ts'
import type { Outcome } from '../wire/link.ts'
import type { MessageOf, ReplyOf, RulesDocument } from '../wire/messages.ts'
import { type AcceptorState, RulesFile } from './rules-file.ts'

/** How a proposer reaches the acceptors of the other consoles. */
export interface RegisterPeer {
  ask<N extends 'rulesPrepare' | 'rulesAccept'>(message: MessageOf<N>, done: (outcome: Outcome<ReplyOf<N>>) => void): void
}

export type RegisterOutcome =
  | { readonly kind: 'chosen'; readonly document: RulesDocument }
  /** The change makes no sense to the value, which is this. */
  | { readonly kind: 'invalid'; readonly document: RulesDocument }
  | { readonly kind: 'out-of-reach' }

/** @returns the new value; the same where nothing is to be changed; undefined where the change makes no sense. */
type Change = (document: RulesDocument) => RulesDocument | undefined

interface Proposal {
  readonly change: Change
  readonly done: (outcome: RegisterOutcome) => void
  attempts: number
  startedMs: number
}

/** Ballots of one console never equal those of another. */
const CONSOLES = 1024
const BACKOFF_MS = 40
const LOAD_RETRY_MS = 1000

export class RulesRegister {
  private readonly host: Host
  private readonly index: number
  private readonly planned: RulesDocument
  private readonly patienceMs: number
  private readonly peers: readonly RegisterPeer[]
  private readonly file: RulesFile
  private state: AcceptorState | undefined
  /** Commits of the own acceptor wait for each other. */
  private readonly tasks: (() => void)[] = []
  private isCommitting = false
  private readonly proposals: Proposal[] = []
  private highestBallot = 0

  /** @param index of this console among all. @param planned the value as long as none was chosen. @param patienceMs how long a change is tried. */
  constructor(host: Host, index: number, planned: RulesDocument, peers: readonly RegisterPeer[], patienceMs: number) {
    this.host = host
    this.index = index
    this.planned = planned
    this.peers = peers
    this.patienceMs = patienceMs
    this.file = new RulesFile(host)
    this.load()
  }

  private load(): void {
    this.file.load((state) => {
      if (state === 'failed') {
        this.host.setTimer(LOAD_RETRY_MS, () => this.load())
        return
      }
      this.state = state
      this.highestBallot = state.promisedBallot
    })
  }

  // The acceptor

  onPrepare({ ballot }: MessageOf<'rulesPrepare'>, reply: (message: MessageOf<'rulesPrepared'>) => void): void {
    this.inTurn(() => {
      const answer = (outcome: MessageOf<'rulesPrepared'>['outcome']) => {
        const { promisedBallot, acceptedBallot, accepted } = this.state ?? NOTHING
        reply({ name: 'rulesPrepared', outcome, promisedBallot, acceptedBallot, accepted })
      }
      const { state } = this
      if (state === undefined) answer('failed')
      else if (ballot <= state.promisedBallot) answer('refused')
      else {
        this.commit({ ...state, promisedBallot: ballot }, (isDurable) => answer(isDurable ? 'promised' : 'failed'))
        return
      }
      this.next()
    })
  }

  onAccept({ ballot, document }: MessageOf<'rulesAccept'>, reply: (message: MessageOf<'rulesAccepted'>) => void): void {
    this.inTurn(() => {
      const answer = (outcome: MessageOf<'rulesAccepted'>['outcome']) =>
        reply({ name: 'rulesAccepted', outcome, promisedBallot: this.state?.promisedBallot ?? 0 })
      const { state } = this
      if (state === undefined) answer('failed')
      else if (ballot < state.promisedBallot) answer('refused')
      else {
        const accepted = { promisedBallot: ballot, acceptedBallot: ballot, accepted: document }
        this.commit(accepted, (isDurable) => answer(isDurable ? 'accepted' : 'failed'))
        return
      }
      this.next()
    })
  }

  private inTurn(task: () => void): void {
    this.tasks.push(task)
    if (this.isCommitting) return
    this.isCommitting = true
    this.next()
  }

  private next(): void {
    const task = this.tasks.shift()
    if (task === undefined) this.isCommitting = false
    else task()
  }

  private commit(state: AcceptorState, done: (isDurable: boolean) => void): void {
    this.state = state
    this.file.commit(state, (isDurable) => {
      done(isDurable)
      this.next()
    })
  }

  // The proposer

  /** Changes of one console are made one after the other. */
  change(change: Change, done: (outcome: RegisterOutcome) => void): void {
    this.proposals.push({ change, done, attempts: 0, startedMs: 0 })
    if (this.proposals.length === 1) this.propose()
  }

  private propose(): void {
    const proposal = this.proposals[0]!
    if (proposal.attempts++ === 0) proposal.startedMs = this.host.nowMs()
    const ballot = (Math.floor(this.highestBallot / CONSOLES) + 1) * CONSOLES + this.index
    this.highestBallot = ballot
    let acceptedBallot = 0
    let document = this.planned
    this.poll(
      { name: 'rulesPrepare', ballot },
      (request, reply) => this.onPrepare(request, reply),
      (answer) => {
        this.highestBallot = Math.max(this.highestBallot, answer.promisedBallot)
        if (answer.outcome === 'promised' && answer.accepted !== undefined && answer.acceptedBallot > acceptedBallot) {
          acceptedBallot = answer.acceptedBallot
          document = answer.accepted
        }
        return answer.outcome === 'promised'
      },
      (isMajority) => {
        if (!isMajority) {
          this.again()
          return
        }
        const next = proposal.change(document)
        if (next === undefined) this.settle({ kind: 'invalid', document })
        // What only a minority may have accepted is written again, so that the answer stays true. The plan needs no writing.
        else if (next === document && acceptedBallot === 0) this.settle({ kind: 'chosen', document })
        else this.accept(ballot, next)
      },
    )
  }

  private accept(ballot: number, document: RulesDocument): void {
    this.poll(
      { name: 'rulesAccept', ballot, document },
      (request, reply) => this.onAccept(request, reply),
      (answer) => {
        this.highestBallot = Math.max(this.highestBallot, answer.promisedBallot)
        return answer.outcome === 'accepted'
      },
      (isMajority) => {
        if (isMajority) this.settle({ kind: 'chosen', document })
        else this.again()
      },
    )
  }

  private again(): void {
    const { attempts, startedMs } = this.proposals[0]!
    if (this.host.nowMs() - startedMs >= this.patienceMs) {
      this.settle({ kind: 'out-of-reach' })
      return
    }
    this.host.reached('change of the rules tried again')
    const waitMs = BACKOFF_MS * attempts * (0.5 + this.host.random('rules ballots').next())
    this.host.setTimer(waitMs, () => this.propose())
  }

  private settle(outcome: RegisterOutcome): void {
    const { done } = this.proposals.shift()!
    done(outcome)
    if (this.proposals.length > 0) this.propose()
  }

  /** Asks every acceptor, our own too. `done` once a majority said yes, or cannot any more. */
  private poll<N extends 'rulesPrepare' | 'rulesAccept'>(
    request: MessageOf<N>,
    own: (request: MessageOf<N>, reply: (answer: ReplyOf<N>) => void) => void,
    isYes: (answer: ReplyOf<N>) => boolean,
    done: (isMajority: boolean) => void,
  ): void {
    const total = this.peers.length + 1
    const majority = Math.floor(total / 2) + 1
    let yes = 0
    let no = 0
    let isOver = false
    const count = (said: boolean) => {
      if (isOver) return
      if (said) yes++
      else no++
      isOver = yes >= majority || no > total - majority
      if (isOver) done(yes >= majority)
    }
    own(request, (answer) => count(isYes(answer)))
    for (const peer of this.peers) peer.ask(request, (outcome) => count(outcome.kind === 'reply' && isYes(outcome.message)))
  }
}

const NOTHING: AcceptorState = { promisedBallot: 0, acceptedBallot: 0, accepted: undefined }
