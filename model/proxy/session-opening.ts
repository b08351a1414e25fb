/**
 * Asks the session shard for a client's session until it has one, in every term of the shard anew. Asked again it is the same attempt, known by (proxy, boot, handle).
 * An answer that comes too late is not lost: the session was opened for somebody who has gone, and is closed again.
 */
import type { ClientConnection } from './client-connection.ts'
import type { Handshake } from './handshake.ts'
import type { ProxyContext } from './proxy-context.ts'

export class SessionOpening {
  private readonly context: ProxyContext
  private readonly client: ClientConnection
  private readonly handshake: Handshake
  /** The term in which the session has been asked for without an answer yet. */
  private askingTerm = -1

  constructor(context: ProxyContext, client: ClientConnection, handshake: Handshake) {
    this.context = context
    this.client = client
    this.handshake = handshake
  }

  ask(): void {
    const { context, client, handshake } = this
    const domain = client.sessionDomain
    const { term } = domain
    if (!client.isOpening || !domain.up || this.askingTerm === term) return
    this.askingTerm = term
    domain.broker!.link.request(
      {
        name: 'openSession',
        shard: domain.shard,
        clientId: client.clientId,
        proxy: context.host.machine,
        bootId: context.host.bootId,
        handle: client.handle,
        cleanStart: handshake.cleanStart,
        expirySeconds: handshake.expirySeconds,
        will: handshake.will,
      },
      context.settings.proxy.requestTimeoutMs,
      (outcome) => {
        if (this.askingTerm === term) this.askingTerm = -1
        const opened = outcome.kind === 'reply' && outcome.message.outcome === 'opened' ? outcome.message : undefined
        if (!client.isOpening) {
          if (opened !== undefined) this.openedTooLate(opened.epoch, term)
          // It may have been opened all the same, for nobody.
          else if (outcome.kind === 'unknown' && client.isClosed() && !client.wasConnected) context.onAbandoned(client)
        } else if (opened !== undefined) client.opened(opened, handshake, term)
        else if (outcome.kind === 'reply' && outcome.message.outcome === 'superseded') client.superseded()
        else domain.retries.later(this, () => this.ask())
      },
    )
  }

  /** An answer after the one that counted, from an owner of another term, or after the client had gone. */
  private openedTooLate(epoch: number, term: number): void {
    const { client } = this
    if (client.isConnected && epoch === client.epoch) {
      if (term > client.confirmedTerm) client.confirmed(term)
      return
    }
    client.epoch = epoch
    // The client did not wait: the session that was opened for it is closed again.
    if (client.isClosed()) this.context.onClosed(client)
    else client.superseded()
  }
}
