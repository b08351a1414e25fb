/**
 * `squall live`: a region on real sockets and files of this computer, until it is told to stop. Clients connect to the load balancer of the first zone, at the address of their
 * choice; every other machine has a loopback address of its own.
 *
 * A machine whose process throws stays down, is named on standard error, and makes the exit code that of our own fault; the region goes on without it.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLiveWorld, type LiveWorld } from '../live/world.ts'
import { openAccess } from '../model/access.ts'
import type { Address } from '../model/host.ts'
import { defaultRegion, planRegion, type RegionPlan } from '../model/region.ts'
import { ports } from '../model/settings.ts'
import type { HistoryEntry } from '../model/world.ts'
import { readAccess } from './access-file.ts'
import { BadInput, exitCodes } from './exit.ts'
import { Readiness } from './live-readiness.ts'

export interface LiveCommandOptions {
  /** 0: any free one. */
  readonly port: number
  readonly host: string
  readonly zones: number
  /** `open`, or a file of rules. */
  readonly access: string
  readonly data?: string
  readonly verbose?: true
}

/** How long a role's machines may take for their orderly end. */
const STOP_WITHIN_MS = 2000
/** For the last bytes to pass the load balancer. */
const LAST_BYTES_MS = 100
const PATIENCE_MS = 15_000
/** What would drown everything else with `--verbose`. */
const commonKinds: ReadonlySet<string> = new Set(['connection-opened', 'connection-closed'])

const listenErrors: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use; choose another with --port',
  EACCES: 'needs a privilege; choose a port from 1024 with --port',
  EADDRNOTAVAIL: 'is not an address of this computer; choose another with --host',
  ENOTFOUND: 'is not an address; --host takes an IPv4 address of this computer',
}

export async function liveCommand(options: LiveCommandOptions): Promise<number> {
  const access = options.access === 'open' ? openAccess : readAccess(options.access)
  const plan = planRegion({ ...defaultRegion, zones: options.zones, access })
  const entry = await freeAddress(options)
  const stop = stopSignal()
  const directory = options.data ?? mkdtempSync(join(tmpdir(), 'squall-live-'))
  try {
    if (options.data !== undefined) claim(options.data, options.zones)
    return await serve(plan, entry, directory, stop, options)
  } finally {
    if (options.data === undefined) rmSync(directory, { recursive: true, force: true })
  }
}

async function serve(
  plan: RegionPlan,
  entry: Address,
  directory: string,
  stop: Promise<string>,
  options: LiveCommandOptions,
): Promise<number> {
  const count = (role: string) => plan.machines.filter((machine) => machine.role === role && machine.standby !== true).length
  const readiness = new Readiness({ shards: plan.shardCount, proxies: count('proxy'), balancers: count('load-balancer') })
  let told = false
  let threw = false
  const onRecorded = (recorded: HistoryEntry) => {
    readiness.take(recorded)
    if (options.verbose === true && !commonKinds.has(recorded.event.kind)) process.stdout.write(`${lineOf(recorded)}\n`)
    if (told || !readiness.ready) return
    told = true
    process.stdout.write(`${readyLine(entry, options, plan)}\n`)
  }
  const balancer = plan.machines.find((machine) => machine.role === 'load-balancer')!
  const world = createLiveWorld({
    directory,
    recording: true,
    onRecorded,
    pinned: [{ region: { host: balancer.address, port: ports.mqtt }, real: entry }],
  })
  world.observe({
    onProcessEnded: (machine, cause, error) => {
      if (cause !== 'threw') return
      threw = true
      process.stderr.write(`${machine} ended: ${error}\n`)
    },
  })
  for (const machine of plan.machines) world.addMachine(machine)
  const impatience = setTimeout(() => {
    if (!told) process.stderr.write(`still waiting: ${readiness.missing.join(', ')}\n`)
  }, PATIENCE_MS)
  await stop
  clearTimeout(impatience)
  // Clients are sent away first; then what they caused becomes durable.
  await stopRole(world, 'proxy')
  await sleep(LAST_BYTES_MS)
  await stopRole(world, 'broker')
  await world.close()
  return threw ? exitCodes.ourFault : exitCodes.held
}

/** The address that clients are to use, after a try: a port that is taken is better told before anything was started. */
async function freeAddress({ host, port }: LiveCommandOptions): Promise<Address> {
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, exclusive: true }, resolve)
    })
    const address = server.address()
    if (address === null || typeof address === 'string' || address.family !== 'IPv4') {
      throw new BadInput(`${host} is not an IPv4 address`)
    }
    return { host: address.address, port: address.port }
  } catch (error) {
    const words = listenErrors[(error as NodeJS.ErrnoException).code ?? '']
    if (words === undefined) throw error
    throw new BadInput(`${host}:${port} ${words}`)
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
}

/** A folder that lasts belongs to one form of region: its shards lie in volumes with a copy in each zone. */
function claim(directory: string, zones: number): void {
  const file = join(directory, 'region.json')
  try {
    mkdirSync(directory, { recursive: true })
    if (!existsSync(file)) {
      writeFileSync(file, `${JSON.stringify({ zones })}\n`)
      return
    }
  } catch (error) {
    throw new BadInput(`--data ${directory}: ${(error as Error).message}`)
  }
  const before = (JSON.parse(readFileSync(file, 'utf8')) as { readonly zones?: number }).zones
  if (before !== zones)
    throw new BadInput(`${directory} holds a region of ${before} zones, not of ${zones}; give --zones ${before}, or another --data`)
}

/** Resolves with the first signal; a second one ends the program at once, as it does by default. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    const signals = ['SIGINT', 'SIGTERM'] as const
    const received = (signal: string) => {
      for (const each of signals) process.off(each, received)
      resolve(signal)
    }
    for (const each of signals) process.on(each, received)
  })
}

async function stopRole(world: LiveWorld, role: string): Promise<void> {
  const running = new Set(world.machines.filter((machine) => machine.role === role).map((machine) => machine.name))
  await new Promise<void>((resolve) => {
    const deadline = setTimeout(resolve, STOP_WITHIN_MS + LAST_BYTES_MS)
    world.observe({
      onProcessEnded: (machine) => {
        running.delete(machine)
        if (running.size > 0) return
        clearTimeout(deadline)
        resolve()
      },
    })
    for (const machine of [...running]) world.stop(machine, STOP_WITHIN_MS)
  })
}

function readyLine({ host, port }: Address, { zones, data }: LiveCommandOptions, plan: RegionPlan): string {
  const files = data === undefined ? 'in a temporary folder, removed at the end' : `in ${data}`
  return `ready: mqtt://${host}:${port} (${zones} ${zones === 1 ? 'zone' : 'zones'}, ${plan.machines.filter(({ standby }) => standby !== true).length} machines, ${plan.shardCount} shards; files ${files}; Ctrl-C ends it)`
}

function lineOf({ timeUs, machine, event }: HistoryEntry): string {
  const { kind, ...details } = event
  const words = Object.entries(details).map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return [`${(timeUs / 1e6).toFixed(3).padStart(9)} s`, machine.padEnd(16), kind, ...words].join('  ')
}
