/** Connections that a client gave up and left open: whatever still comes over them is ignored. */
import type { Connection, ConnectionHandler } from '../host.ts'

/** The oldest beyond these is reset. */
const LEFT_OPEN_AT_MOST = 2
const NOBODY: ConnectionHandler = { onData: () => {}, onClose: () => {} }

/** Adds to `leftOpen`, oldest first. */
export function leaveBehind(connection: Connection, leftOpen: Connection[]): void {
  connection.handler = NOBODY
  leftOpen.push(connection)
  if (leftOpen.length > LEFT_OPEN_AT_MOST) leftOpen.shift()!.reset()
}
