/**
 * How much a kind of fault may take away, for the generators: in which mode of a campaign it may be drawn.
 *
 * - `survivable`: what a region of three zones with `regional` volumes claims to withstand, one at a time: every promise is due, deadlines too.
 * - `unlimited`: crashes, partitions, pauses, network and clock faults without limit, while storage leaves an honest copy of each durable record in any majority of copies: safety only.
 * - `destructive`: beyond that: a copy forgets what it said was durable. What is delivered is genuine, and what can be known to be lost is reported.
 *
 * A mode takes in those before it. A kind stands in the mildest mode that has it in the mildest shape: one at a time, on one machine or zone, for a time. That a generator
 * keeps to this shape is its own affair.
 */
import type { ScenarioFault } from './fault-schema.ts'

export type FaultMode = 'survivable' | 'unlimited' | 'destructive'

export const faultModes: Readonly<Record<Exclude<ScenarioFault['kind'], 'together'>, FaultMode>> = {
  'zone-outage': 'survivable',
  crash: 'survivable',
  restart: 'survivable',
  'power-loss': 'survivable',
  pause: 'survivable',
  slow: 'survivable',
  'rolling-upgrade': 'survivable',
  'scale-in': 'survivable',
  'scale-out': 'survivable',
  'connection-reset': 'survivable',
  'datagram-loss': 'survivable',
  'clock-jump': 'survivable',
  'clock-drift': 'survivable',
  'address-change': 'survivable',
  'nat-timeout': 'survivable',
  'dns-silent': 'survivable',
  'dns-stale': 'survivable',
  'sync-failure': 'survivable',
  'disk-stall': 'survivable',
  'disk-slow': 'survivable',
  'disk-full': 'survivable',
  // A machine that some reach and some do not, or that answers and does nothing, may be believed alive for as long as that lasts: no deadline holds.
  partition: 'unlimited',
  link: 'unlimited',
  isolation: 'unlimited',
  grey: 'unlimited',
  'fault-point': 'unlimited',
  // A copy that forgets what it has synced may be one of the majority that the next attach asks.
  'lying-sync': 'destructive',
  'bit-rot': 'destructive',
  'misdirected-write': 'destructive',
  'disk-loss': 'destructive',
}
