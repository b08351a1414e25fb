/**
 * Which shard goes from which broker to which, so that all have about as many: the same answer for everybody who knows the same, so nobody has to be asked.
 *
 * The broker with most shards gives one to the broker with fewest, where that makes a difference; of brokers alike the first by name. One at a time: the
 * next move follows from what is known after this one.
 */

export interface Move {
  readonly shard: number
  readonly from: string
  readonly to: string
}

/** @param owners who serves each shard; undefined where that is not known, and then nothing is moved. */
export function nextMove(owners: readonly (string | undefined)[], alive: readonly string[]): Move | undefined {
  const shardsOf = new Map<string, number[]>([...alive].sort().map((broker) => [broker, []]))
  for (const [shard, owner] of owners.entries()) {
    const shards = owner === undefined ? undefined : shardsOf.get(owner)
    if (shards === undefined) return undefined
    shards.push(shard)
  }
  let most: [string, readonly number[]] | undefined
  let fewest: [string, readonly number[]] | undefined
  for (const entry of shardsOf) {
    if (most === undefined || entry[1].length > most[1].length) most = entry
    if (fewest === undefined || entry[1].length < fewest[1].length) fewest = entry
  }
  if (most === undefined || fewest === undefined || most[1].length - fewest[1].length < 2) return undefined
  // The first choice for a shard is the one that takes it where nobody has it.
  const names = [...shardsOf.keys()]
  const home = most[1].find((shard) => names[shard % names.length] === fewest[0])
  return { shard: home ?? most[1][0]!, from: most[0], to: fewest[0] }
}

/** Who takes each of these shards when their broker goes: the others in turn, those with fewest first. */
export function heirs(
  shards: readonly number[],
  owners: readonly (string | undefined)[],
  others: readonly string[],
): ReadonlyMap<number, string> {
  const counts = new Map([...others].sort().map((broker) => [broker, 0]))
  for (const owner of owners) if (owner !== undefined && counts.has(owner)) counts.set(owner, counts.get(owner)! + 1)
  const chosen = new Map<number, string>()
  for (const shard of shards) {
    let fewest: string | undefined
    for (const [broker, count] of counts) if (fewest === undefined || count < counts.get(fewest)!) fewest = broker
    if (fewest === undefined) break
    chosen.set(shard, fewest)
    counts.set(fewest, counts.get(fewest)! + 1)
  }
  return chosen
}
