/** How a command ends. */

export const exitCodes = { held: 0, notHeld: 1, badInput: 2, ourFault: 3 } as const

/** What the caller gave cannot be used; the message says why and what is allowed. No stack is shown. */
export class BadInput extends Error {}
