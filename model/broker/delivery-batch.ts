/** One message on its way from a topic shard to the proxies of the sessions that get it: a frame for each proxy, so that the payload crosses once to each. */
import { SmallMap } from '../small-map.ts'
import { deliveryFlag } from '../wire/delivery-flags.ts'
import type { Link } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { Attachment } from './session-queue.ts'

export type Target = MessageOf<'deliver'>['targets'][number]

export function target(
  handle: number,
  sequence: number,
  qos: number,
  retain: boolean,
  dup: boolean,
  subscriptionIdentifiers: readonly number[],
): Target {
  return { handle, sequence, qos, flags: (retain ? deliveryFlag.retain : 0) | (dup ? deliveryFlag.dup : 0), subscriptionIdentifiers }
}

export class DeliveryBatch {
  private readonly shard: number
  private readonly message: Buffer
  private readonly waitedMs: number
  private readonly byLink = new SmallMap<Link, Target[]>()

  /** @param waitedMs for how long the message has been stored. */
  constructor(shard: number, message: Buffer, waitedMs: number) {
    this.shard = shard
    this.message = message
    this.waitedMs = waitedMs
  }

  add(attachment: Attachment, target: Target): void {
    const targets = this.byLink.get(attachment.link)
    if (targets === undefined) this.byLink.set(attachment.link, [target])
    else targets.push(target)
  }

  send(): void {
    const { shard, waitedMs, message } = this
    for (const [link, targets] of this.byLink) link.notify({ name: 'deliver', shard, waitedMs, message, targets })
  }
}
