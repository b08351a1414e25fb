/**
 * Topic aliases of one MQTT 5 connection: numbers that stand for topic names, in either direction. They end with the connection [MQTT-3.3.2-7].
 *
 * On the way in the client chooses them; on the way out the topics that were used last have one. Whether a topic name is a legal one is not asked here.
 */

/** What the client has said. */
export class AliasesFromClient {
  private readonly maximum: number
  /** Undefined until the first alias: most clients have none. */
  private topics: Map<number, string> | undefined

  constructor(maximum: number) {
    this.maximum = maximum
  }

  /** @returns the topic that the PUBLISH is for; undefined where the alias is above the maximum [MQTT-3.3.2-9], or stands for nothing and no topic is given */
  resolve(topic: string, alias: number | undefined): string | undefined {
    if (alias === undefined) return topic === '' ? undefined : topic
    if (alias === 0 || alias > this.maximum) return undefined
    if (topic === '') return this.topics?.get(alias)
    this.topics ??= new Map()
    this.topics.set(alias, topic)
    return topic
  }
}

/** What the client has been told. Nothing is told until `used` says that the PUBLISH left. */
export class AliasesToClient {
  private readonly maximum: number
  /** Least recently used first. Their aliases are always the lowest ones. */
  private readonly aliases = new Map<string, number>()
  private latest = ''

  /** @param maximum at least 1 */
  constructor(maximum: number) {
    this.maximum = maximum
  }

  /** The alias by which the client knows the topic. */
  aliasOf(topic: string): number | undefined {
    return this.aliases.get(topic)
  }

  /** The alias that the next new topic gets: a free one, or that of the topic whose last use is longest ago. */
  nextAlias(): number {
    if (this.aliases.size < this.maximum) return this.aliases.size + 1
    for (const alias of this.aliases.values()) return alias
    throw new RangeError('no alias is allowed')
  }

  /** A PUBLISH with this alias has left, with the topic or without. */
  used(topic: string, alias: number): void {
    if (topic === this.latest) return
    this.latest = topic
    if (!this.aliases.delete(topic) && this.aliases.size === this.maximum) {
      for (const oldest of this.aliases.keys()) {
        this.aliases.delete(oldest)
        break
      }
    }
    this.aliases.set(topic, alias)
  }
}
