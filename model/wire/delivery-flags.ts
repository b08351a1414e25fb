/** Bits of `flags` in the `deliver` notice. */
export const deliveryFlag = { retain: 1, dup: 2 } as const
