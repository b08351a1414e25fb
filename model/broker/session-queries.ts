/** What the console asks a session shard: who is there, and that somebody goes. Answers say what is durable, by an owner that has its lease. */
import { emit } from '../events.ts'
import type { Host } from '../host.ts'
import type { Message, MessageOf } from '../wire/messages.ts'
import type { SessionTable } from './session-table.ts'

/** Reason code of DISCONNECT (MQTT 5.0 section 3.14.2.1). */
const ADMINISTRATIVE_ACTION = 0x98

export interface SessionQueriesOwner {
  readonly table: SessionTable
  readonly isServing: boolean
  answer(reply: (message: Message) => void, message: Message, notOwner: Message): void
}

export class SessionQueries {
  private readonly host: Host
  private readonly owner: SessionQueriesOwner
  private readonly timeoutMs: number

  constructor(host: Host, owner: SessionQueriesOwner, timeoutMs: number) {
    this.host = host
    this.owner = owner
    this.timeoutMs = timeoutMs
  }

  list({ after, limit }: MessageOf<'listSessions'>, reply: (message: Message) => void): void {
    const { sessions } = this.owner.table
    const ids = [...sessions.keys()].filter((clientId) => clientId > after).sort()
    const clients = ids.slice(0, limit).map((clientId) => {
      const { connected, proxy, sinceMs } = sessions.get(clientId)!
      return { clientId, connected, proxy, sinceMs }
    })
    this.owner.answer(
      reply,
      { name: 'sessionsListed', outcome: 'found', clients, more: ids.length > limit },
      { name: 'sessionsListed', outcome: 'not-owner', clients: [], more: false },
    )
  }

  /** The proxy closes the connection, and tells of its end as of any other: the will is due, the session stays for as long as it was to. */
  kick({ clientId }: MessageOf<'kickFromShard'>, reply: (message: Message) => void): void {
    const session = this.owner.table.get(clientId)
    const answer = (outcome: MessageOf<'clientKicked'>['outcome']) =>
      this.owner.answer(reply, { name: 'clientKicked', outcome }, { name: 'clientKicked', outcome: 'not-owner' })
    if (session?.connected !== true) {
      answer('not-connected')
      return
    }
    const { link, epoch, handle } = session
    if (link?.up !== true) {
      answer('unreachable')
      return
    }
    const drop = { name: 'dropConnection', clientId, epoch, handle, reasonCode: ADMINISTRATIVE_ACTION } as const
    link.request(drop, this.timeoutMs, (outcome) => {
      if (!this.owner.isServing) return
      if (outcome.kind === 'reply' && this.host.recording) emit(this.host, { kind: 'client-kicked', clientId })
      answer(outcome.kind === 'reply' ? 'kicked' : 'unreachable')
    })
  }
}
