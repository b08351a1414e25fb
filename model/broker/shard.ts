/** What a broker hosts: one shard's state machine over its volume. The broker attaches the volume, replays it into `replay`, and from `serve` on hands requests over. */

import type { Volume } from '../volume/volume.ts'
import type { Link } from '../wire/link.ts'
import type { Message } from '../wire/messages.ts'

export interface Shard {
  /** One record of the log, in order. Only before `serve`. */
  replay(offset: number, type: number, version: number, body: Buffer): void
  serve(volume: Volume): void
  onRequest(link: Link, message: Message, reply: (message: Message) => void): void
  onNotice(link: Link, message: Message): void
  /** A proxy's link is gone. */
  onLinkDown(link: Link): void
  /** The volume is lost, or the process ends: nothing more may be said in this shard's name. */
  close(): void
}
