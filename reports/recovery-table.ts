/** The page that compares the client profiles: their habits, and for each way a connection ends a table of how long the way back took and where the time went. */
import type { TimeSummary } from '../checks/histogram.ts'
import {
  assignmentsFor,
  type ConnectionEnding,
  connectionEndings,
  type ProfileHabits,
  type ProfileRecovery,
} from '../scenarios/profile-recovery.ts'
import { duration } from './text.ts'

const endingTitles: Readonly<Record<ConnectionEnding, { readonly title: string; readonly text: string }>> = {
  blackhole: {
    title: 'Blackhole: the zone loses power',
    text: 'Nothing tells a client: it has to notice by itself, and its next connection may be to the dark zone again, as long as its resolver, or it, has the address. Who kept its connection waits for the messages of those who have not noticed.',
  },
  reset: {
    title: 'Reset: the connections are reset, and the zone loses power',
    text: "Every client with a connection into the zone is told at once; what is left is its back-off, and how it passes by the zone's dead address. Who notices late here had no connection into the zone, and was let go by a proxy that could not reach the owner of its session.",
  },
  crash: {
    title: "Crash: the process of the zone's proxy ends",
    text: 'Clients are told at once, and no address is dead: what is left is the back-off, and how long the load balancers take the proxy for alive.',
  },
}

const termTitles: Readonly<Record<string, string>> = {
  total: 'until served again',
  backOff: 'back-off',
  service: 'until messages flow',
}

/** A sum of others, and what is none of the way back after the fault. */
const LEFT_OUT: ReadonlySet<string> = new Set(['backOffAndConnect', 'again'])

/** `sessionLoad` as people write it. */
function termTitle(term: string): string {
  return termTitles[term] ?? term.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}

function isTimes(value: unknown): value is TimeSummary {
  return typeof value === 'object' && value !== null && 'p50' in value && 'max' in value
}

function endingSection(ending: ConnectionEnding, rows: readonly ProfileRecovery[]): string {
  const { title, text } = endingTitles[ending]
  const timesOf = ({ recovery }: ProfileRecovery, term: string): unknown => recovery[term as keyof typeof recovery]
  const isThere = (times: unknown): boolean => isTimes(times) && times.count > 0
  // Without TLS there is no handshake.
  const terms = Object.keys(rows[0]?.recovery ?? {}).filter(
    (term) => !LEFT_OUT.has(term) && rows.some((row) => isThere(timesOf(row, term))),
  )
  const table = markdownTable(
    ['profile', 'clients', ...terms.map(termTitle)],
    rows.map(({ profile, recovery }) => {
      const times = recovery as unknown as Readonly<Record<string, TimeSummary>>
      const cells = terms.map((term) => {
        const { p50, max, count } = times[term]!
        return count === 0 ? '-' : `${duration(p50)}, ${duration(max)}`
      })
      return [profile, String(recovery.total.count), ...cells]
    }),
  )
  return `## ${title}\n\n${text}\n\n${table}`
}

export function renderProfilePage(habits: readonly ProfileHabits[], rows: readonly ProfileRecovery[], seed: number): string {
  const shown = habits[0]!.name
  const command = ['npx squall run az-outage', `--seed ${seed}`, ...assignmentsFor(shown, 'blackhole').map((set) => `--set '${set}'`)].join(
    ' ',
  )
  const habitsTable = markdownTable(
    ['profile', 'MQTT', 'keepalive', 'notices within', 'connect timeout', 'back-off', 'addresses tried'],
    habits.map((each) => [each.name, each.version, each.keepalive, each.detection, each.connectTimeout, each.backOff, each.addresses]),
  )
  const parts = [
    '# Client profiles',
    [
      'What clients of different libraries make of the same outage. This page is made by',
      '',
      '    npm run build && node tools/client-profiles.mjs',
      '',
      'which plays `az-outage` once for each profile and each way a connection can end. One of these runs:',
      '',
      `    ${command}`,
    ].join('\n'),
    `## Habits\n\nThe profiles are data, in \`model/client/profiles.ts\` and \`paho-profiles.ts\`, each fact with its source. "Notices within" is for a dead path that nothing tells of, with something unacknowledged.\n\n${habitsTable}`,
    `In the tables below each cell is the median and the longest, over the clients that lost their connection or had to wait ("clients"). "Edge" is the time spent on attempts that led nowhere, such as to an address of the dark zone. All times are simulated.`,
    ...connectionEndings.map((ending) =>
      endingSection(
        ending,
        rows.filter((row) => row.ending === ending),
      ),
    ),
  ]
  return `${parts.join('\n\n')}\n`
}
