/**
 * How long the clients of each profile are without service when they lose their connections in `az-outage`, by how the connections end: the runs behind the table of
 * profiles. All clients of a run have one profile; it is the scenario of the catalogue in everything else but what is named in `assignments`.
 */
import type { RecoveryMeasures } from '../checks/recovery.ts'
import { type ClientProfile, detectionBoundMs } from '../model/client/profile.ts'
import { clientProfiles, type ProfileName, profileNames } from '../model/client/profiles.ts'
import { catalogueEntry } from './catalogue.ts'
import { formatDuration } from './fields.ts'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

export const connectionEndings = ['blackhole', 'reset', 'crash'] as const

export type ConnectionEnding = (typeof connectionEndings)[number]

/** A reset is on its way for 20 ms, and nobody is back sooner: who dials again finds the zone dark. */
const faultsOf: Readonly<Record<ConnectionEnding, string>> = {
  blackhole: '[{kind: zone-outage, zone: az2, form: power, at: 20s, for: 300s}]',
  reset:
    '[{kind: connection-reset, from: role client, to: zone az2, at: 20s}, {kind: zone-outage, zone: az2, form: power, at: 20020ms, for: 300s}]',
  crash: '[{kind: crash, machines: proxy-2, at: 20s, for: 300s}]',
}

export interface ProfileRecovery {
  readonly profile: ProfileName
  readonly ending: ConnectionEnding
  readonly recovery: RecoveryMeasures
}

const versionNames = { 3: '3.1', 4: '3.1.1', 5: '5' } as const

/** What is set over the scenario of the catalogue, as a command line would. */
export function assignmentsFor(profile: ProfileName, ending: ConnectionEnding, clients = 60): readonly string[] {
  const version = versionNames[clientProfiles[profile].version]
  return [
    `clients=[{count: ${clients}, profile: ${profile}, version: "${version}", publish: {every: 5s}}]`,
    `faults=${faultsOf[ending]}`,
    'workload={settle: 5s, drain: 5s}',
  ]
}

export function recoveryOf(profile: ProfileName, ending: ConnectionEnding, seed: number, clients?: number): ProfileRecovery {
  const { name, file, text } = catalogueEntry('az-outage')
  const scenario = loadScenario(text, { file, name, set: assignmentsFor(profile, ending, clients) })
  const { measures } = runScenario(scenario, { seed, recording: false })
  return { profile, ending, recovery: measures.recovery }
}

/** A profile's habits, in a few words each. */
export interface ProfileHabits {
  readonly name: ProfileName
  readonly version: string
  readonly keepalive: string
  /** The longest it takes to notice a dead path, with something unacknowledged. */
  readonly detection: string
  readonly connectTimeout: string
  readonly backOff: string
  readonly addresses: string
}

export function profileHabits(): readonly ProfileHabits[] {
  return profileNames.map((name) => {
    const profile = clientProfiles[name]
    return {
      name,
      version: versionNames[profile.version],
      keepalive: formatDuration(profile.keepaliveSeconds * 1000),
      detection: formatDuration(detectionBoundMs(profile, true)),
      connectTimeout: formatDuration(profile.connectTimeoutMs),
      backOff: backOffInWords(profile),
      addresses: addressesInWords(profile),
    }
  })
}

function backOffInWords({ reconnect }: ClientProfile): string {
  if (reconnect.kind === 'fixed') return `${formatDuration(reconnect.periodMs)}, always`
  const { firstMs, capMs, earlyCapMs, earlyForMs, jitter, firstAtOnce } = reconnect
  const early = earlyForMs > 0 ? `${formatDuration(earlyCapMs)} in the first ${formatDuration(earlyForMs)}, then ` : ''
  const spread =
    jitter === 'none' ? 'no jitter' : jitter === 'full' ? 'full jitter' : `x${jitter.fromShare.toFixed(2)} to x${jitter.toShare.toFixed(2)}`
  return `${firstAtOnce ? 'at once, then ' : ''}${formatDuration(firstMs)} doubling to ${early}${formatDuration(capMs)}, ${spread}`
}

function addressesInWords({ addresses, addressTimeoutMs, ownAddressCacheMs }: ClientProfile): string {
  const kept = ownAddressCacheMs === undefined ? '' : `, kept for ${formatDuration(ownAddressCacheMs)}`
  if (addresses === 'first') return `the first${kept}`
  if (addressTimeoutMs === undefined) return `all${kept}`
  return `all, ${addressTimeoutMs === 'equal-share' ? 'sharing the connect timeout' : `${formatDuration(addressTimeoutMs)} each but the last`}${kept}`
}
