/**
 * The retained message of each topic of a shard, by where it stands in the log. A register in the log's order: the last PUBLISH with RETAIN counts, one with
 * an empty payload leaves nothing [MQTT-3.3.1-5, MQTT-3.3.1-6]; but not one that a publisher's later connection has overtaken, as a late will is. A trie over topic levels, so that the work of a subscription grows with what matches.
 */
import type { TopicCheckpoint } from './topic-records.ts'

export interface RetainedMessage {
  readonly topic: string
  readonly offset: number
  readonly publisher: string
  /** Of the publisher's session. */
  readonly epoch: number
  readonly qos: number
}

interface Node {
  children: Map<string, Node> | undefined
  here: RetainedMessage | undefined
}

export class RetainedRegister {
  private readonly root: Node = { children: undefined, here: undefined }
  private readonly byTopic = new Map<string, RetainedMessage>()

  set(message: RetainedMessage): void {
    if (this.isOvertaken(message.topic, message.publisher, message.epoch)) return
    this.byTopic.set(message.topic, message)
    let node = this.root
    for (const level of message.topic.split('/')) {
      node.children ??= new Map()
      let child = node.children.get(level)
      if (child === undefined) {
        child = { children: undefined, here: undefined }
        node.children.set(level, child)
      }
      node = child
    }
    node.here = message
  }

  /** @param clearing the message that leaves nothing. */
  clear(clearing: Omit<RetainedMessage, 'offset' | 'qos'>): void {
    if (!this.isOvertaken(clearing.topic, clearing.publisher, clearing.epoch)) this.delete(clearing.topic)
  }

  private isOvertaken(topic: string, publisher: string, epoch: number): boolean {
    const present = this.byTopic.get(topic)
    return present !== undefined && present.publisher === publisher && present.epoch > epoch
  }

  delete(topic: string): void {
    if (!this.byTopic.delete(topic)) return
    const levels = topic.split('/')
    const path: Node[] = [this.root]
    for (const level of levels) path.push(path[path.length - 1]!.children!.get(level)!)
    path[levels.length]!.here = undefined
    for (let i = levels.length; i > 0; i--) {
      const node = path[i]!
      if (node.here !== undefined || (node.children?.size ?? 0) > 0) break
      path[i - 1]!.children!.delete(levels[i - 1]!)
    }
  }

  get(topic: string): RetainedMessage | undefined {
    return this.byTopic.get(topic)
  }

  /** @param filter not a shared one: those get no retained messages (MQTT 5, section 4.8.2). */
  matching(filter: string): readonly RetainedMessage[] {
    const found: RetainedMessage[] = []
    collect(this.root, filter.split('/'), 0, found)
    return found
  }

  /** Those that stand below `offset`, in the order of the log. */
  before(offset: number): readonly RetainedMessage[] {
    return [...this.byTopic.values()].filter((message) => message.offset < offset).sort((a, b) => a.offset - b.offset)
  }

  snapshot(): TopicCheckpoint['retained'] {
    return [...this.byTopic.values()]
  }
}

function collect(node: Node, levels: readonly string[], depth: number, found: RetainedMessage[]): void {
  const level = levels[depth]
  if (level === undefined) {
    if (node.here !== undefined) found.push(node.here)
    return
  }
  if (level === '#') {
    // `a/#` matches its parent `a` too (section 4.7.1.2).
    if (node.here !== undefined) found.push(node.here)
    for (const [name, child] of node.children ?? []) if (depth > 0 || !name.startsWith('$')) collect(child, levels, depth, found)
    return
  }
  if (level === '+') {
    // A wildcard at the start does not match names that begin with $ [MQTT-4.7.2-1].
    for (const [name, child] of node.children ?? []) if (depth > 0 || !name.startsWith('$')) collect(child, levels, depth + 1, found)
    return
  }
  const child = node.children?.get(level)
  if (child !== undefined) collect(child, levels, depth + 1, found)
}
