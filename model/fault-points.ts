/** The fault points in the code of the service: the names of all rarer branches that `Host.perturb` asks about, which a scenario may have taken. */
export const faultPoints = [
  'copy-syncs-late',
  'dns-health-checks-stand-still',
  'volume-holds-one-copy',
  'volume-waits-for-all-promises',
] as const

export type FaultPoint = (typeof faultPoints)[number]
