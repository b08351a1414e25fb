/**
 * The kinds of volume, where each keeps its copies, and what each promises under which strain: the table that expectations, explanations and documents are made from.
 *
 * - `regional`: a copy in every zone, a majority of which has to have synced a record. What a cloud sells as a disk that is replicated over zones
 *   (GCP Regional Persistent Disk, Azure ZRS; https://cloud.google.com/compute/docs/disks/about-regional-persistent-disk).
 * - `zonal`: one copy, in one zone, and backup points in two others (AWS EBS: "replicated within its Availability Zone", with snapshots).
 * - `replicated`: no cloud disk at all; the brokers' own disks hold the copies, one broker of each zone for each volume.
 */

export const volumeKinds = ['regional', 'zonal', 'replicated'] as const
export type VolumeKind = (typeof volumeKinds)[number]

/** Which copy servers hold a volume, by their places in the region's list of them. */
export interface Placement {
  /** A majority of these makes a record durable. */
  readonly copies: readonly number[]
  /** These have the log up to its last backup point. */
  readonly backups: readonly number[]
}

/** More than one, so that a point outlives the zone it is in. */
const BACKUPS = 2

/** @param zoneOf the zone of each copy server. */
export function placementOf(kind: VolumeKind, volume: number, zoneOf: readonly string[]): Placement {
  const zones = [...new Set(zoneOf)]
  const inZone = (zone: string): number => {
    const servers = zoneOf.flatMap((other, server) => (other === zone ? [server] : []))
    return servers[volume % servers.length]!
  }
  if (kind !== 'zonal') return { copies: zones.map(inZone), backups: [] }
  const home = volume % zones.length
  const elsewhere = Array.from({ length: Math.min(BACKUPS, zones.length - 1) }, (_, i) => zones[(home + 1 + i) % zones.length]!)
  return { copies: [inZone(zones[home]!)], backups: elsewhere.map(inZone) }
}

export const volumeStrains = [
  'broker-lost',
  'copy-dark',
  'majority-dark',
  'all-brokers-lost',
  'copy-destroyed',
  'majority-destroyed',
] as const
/**
 * `lost`: process or machine, its disk stays. `dark`: out of reach, and whole when it is back. `destroyed`: the disk is gone for good.
 * Of the copies of one volume one, or so many that no majority is left; for a single copy that is the same.
 */
export type VolumeStrain = (typeof volumeStrains)[number]

interface Kept {
  /** What becomes of acknowledged messages and sessions: all there; there up to the last backup point; or gone. */
  readonly data: 'kept' | 'back-to-backup-point' | 'lost'
  /** Whether the shards on the volume are served within the budgets, or only once what is out of reach is back. */
  readonly service: 'kept' | 'out-until-back'
  /** Why, in a sentence that ends an explanation. */
  readonly because: string
}

const brokerMoves = 'another broker attaches the volume'
const majorityLeft = 'a majority of the copies is left'
const noMajority = 'without a majority of the copies nothing can be written or attached'
const disksStay = 'the disks are as they were when the brokers are back'

export const keptUnder: Readonly<Record<VolumeKind, Readonly<Record<VolumeStrain, Kept>>>> = {
  regional: {
    'broker-lost': { data: 'kept', service: 'kept', because: brokerMoves },
    'copy-dark': { data: 'kept', service: 'kept', because: majorityLeft },
    'majority-dark': { data: 'kept', service: 'out-until-back', because: noMajority },
    'all-brokers-lost': { data: 'kept', service: 'out-until-back', because: disksStay },
    'copy-destroyed': { data: 'kept', service: 'kept', because: 'the others have all of it, and the empty copy is filled from them' },
    'majority-destroyed': { data: 'lost', service: 'out-until-back', because: 'a record may have been on just the copies that are gone' },
  },
  zonal: {
    'broker-lost': { data: 'kept', service: 'kept', because: brokerMoves },
    'copy-dark': {
      data: 'kept',
      service: 'out-until-back',
      because: 'the one copy of a zonal volume is in one zone, and nobody can attach it while that zone is dark',
    },
    'majority-dark': {
      data: 'kept',
      service: 'out-until-back',
      because: 'the one copy of a zonal volume is in one zone, and nobody can attach it while that zone is dark',
    },
    'all-brokers-lost': { data: 'kept', service: 'out-until-back', because: disksStay },
    'copy-destroyed': {
      data: 'back-to-backup-point',
      service: 'out-until-back',
      because: 'the one copy of a zonal volume is gone, and what came after its last backup point with it',
    },
    'majority-destroyed': {
      data: 'back-to-backup-point',
      service: 'out-until-back',
      because: 'the one copy of a zonal volume is gone, and what came after its last backup point with it',
    },
  },
  replicated: {
    'broker-lost': { data: 'kept', service: 'kept', because: 'a majority of the brokers, and so of the copies, is left' },
    'copy-dark': { data: 'kept', service: 'kept', because: majorityLeft },
    'majority-dark': { data: 'kept', service: 'out-until-back', because: noMajority },
    'all-brokers-lost': { data: 'kept', service: 'out-until-back', because: disksStay },
    'copy-destroyed': {
      data: 'kept',
      service: 'kept',
      because: 'the other brokers have all of it, and the empty copy is filled from them',
    },
    'majority-destroyed': { data: 'lost', service: 'out-until-back', because: 'a record may have been on just the brokers that are gone' },
  },
}

/** What each column stands for, by the ids of the promises that checks give a verdict on. */
export const promisesOf: Readonly<Record<'data' | 'service', readonly string[]>> = {
  data: [
    'acked-survives',
    'acked-delivered',
    'qos2-exactly-once',
    'publisher-order',
    'session-kept',
    'will-once',
    'retained-last',
    'retention',
  ],
  service: ['reconnect-in-time', 'progress'],
}

/** Why volumes of this kind do not keep this promise under this strain; undefined where they do. */
export function notPromised(kind: VolumeKind, strain: VolumeStrain, promise: string): string | undefined {
  const { data, service, because } = keptUnder[kind][strain]
  const isBroken = (data !== 'kept' && promisesOf.data.includes(promise)) || (service !== 'kept' && promisesOf.service.includes(promise))
  return isBroken ? `${kind} volumes do not promise this: ${because}` : undefined
}
