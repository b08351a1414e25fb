/** Why a client's connection is not read: too much of what it sent waits for us, it does not take what we answer, or it publishes faster than its quota allows. Bits, since several may apply at once. */
export const holding = { early: 1, publishes: 2, subscribes: 4, answers: 8, rate: 16 } as const
export type Holding = (typeof holding)[keyof typeof holding]
