/**
 * For the many lists that mostly hold nothing, or one thing for a moment: a queue of what a client has under way. `push` makes room for sixteen more, and a list
 * that is emptied gives the room back.
 */

/** Shared by all that are empty, and then never written to. */
export const NONE: never[] = []

/** Adds to a list that only the caller has. @returns the list from now on */
export function appended<T>(list: T[], item: T): T[] {
  if (list.length === 0) return [item]
  list.push(item)
  return list
}
