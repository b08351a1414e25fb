/**
 * The command line: commands, options and help. Each command's body is imported when it is called, so that `--help` costs no more than this file.
 * Exit codes: 0 held, 1 violated or not exercised, 2 bad input, 3 our own fault.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { BadInput, exitCodes } from './exit.ts'
import type { LiveCommandOptions } from './live.ts'

function parseSeed(text: string): number {
  const seed = Number(text)
  if (!/^\d+$/.test(text) || seed > 0xffff_ffff) throw new InvalidArgumentError('A seed is a whole number from 0 to 4294967295.')
  return seed
}

function parseSeeds(text: string): readonly [number, number] {
  const match = /^(\d+)(?:\.\.|-)(\d+)$/.exec(text)
  if (match === null) throw new InvalidArgumentError('Seeds are given as first..last, such as 1..50.')
  const [first, last] = [parseSeed(match[1]!), parseSeed(match[2]!)]
  if (last < first) throw new InvalidArgumentError(`The last seed (${last}) lies before the first (${first}).`)
  return [first, last]
}

function parseJobs(text: string): number {
  const jobs = Number(text)
  if (!/^\d+$/.test(text) || jobs < 1 || jobs > 256) throw new InvalidArgumentError('Jobs are a whole number from 1 to 256.')
  return jobs
}

function parsePort(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError('A port is a whole number from 0 (any free one) to 65535.')
  return port
}

function parseZones(text: string): number {
  if (!/^[1-9]$/.test(text)) throw new InvalidArgumentError('Zones are a whole number from 1 to 9.')
  return Number(text)
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

function version(): string {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as Readonly<Record<string, string>>
      if (name === 'squall' && version !== undefined) return version
    } catch {
      // Built files stand one folder deeper than sources.
    }
  }
  return 'unknown'
}

function createProgram(finish: (code: number) => void): Command {
  const program = new Command('squall')
  program
    .description('Takes zones of a highly available MQTT service down, on virtual time, and checks what it promised.')
    .version(version(), '--version', 'Print the version.')
    .helpOption('-h, --help', 'Show this help.')
    .helpCommand('help [command]', 'Show the help of a command.')
    .showSuggestionAfterError()
    .configureHelp({ sortOptions: true })
    .addHelpText(
      'after',
      `
Start here:
  $ squall list                           what can be played
  $ squall run az-outage                  a zone loses power under load: the story and the verdict
  $ squall run az-outage --seeds 1..50    the same, fifty times over, each a little different

Exit codes: 0 every promise as expected, 1 violated or not exercised, 2 bad input, 3 a fault of Squall itself.`,
    )

  program
    .command('run')
    .summary('play scenarios and print what happened and the verdict')
    .description('Plays scenarios and prints what happened, in time order, and which promises were kept.')
    .argument('[scenario...]', 'names from `squall list`, or scenario files')
    .option('--all', 'every scenario that comes with Squall, in place of names; slow ones play the first seed only')
    .option('--tag <tag>', 'with --all: those that have this tag, or one of several', collect)
    .addOption(
      new Option('--seed <n>', "everything random is drawn from it (default: the file's, else 1)").argParser(parseSeed).conflicts('seeds'),
    )
    .addOption(new Option('--seeds <first..last>', 'a run for each seed, on all cores').argParser(parseSeeds))
    .option('--set <path=value>', 'change the scenario, may be repeated', collect)
    .option('--json', 'one JSON object a line for each run, and nothing else, on standard output')
    .option('--trace <file>', 'write the history of a single run, one JSON object a line')
    .option('--jobs <n>', 'how many runs at a time (default: one for each core)', parseJobs)
    .addHelpText(
      'after',
      `
Examples:
  $ squall run calm az-outage --seeds 1..20              two scenarios, twenty seeds each
  $ squall run --all --seeds 1..10                       the whole catalogue, ten seeds each
  $ squall run --all --tag zone                          of the catalogue what has to do with zones
  $ squall run az-outage --set faults.0.form=isolated    the zone is cut off instead of dark
  $ squall run az-outage --set clients.0.count=500 --set region.settings.loadBalancer.probeIntervalMs=5000
  $ squall run ./my-outage.yaml --seed 7 --trace history.jsonl
  $ squall run az-outage --seeds 1..100 --json | jq -r 'select(.verdict != "held") | .seed'

A scenario file needs a title, and faults with times:
  title: A zone loses power
  faults:
    - { kind: zone-outage, zone: az2, form: power, at: 20s, for: 40s }`,
    )
    .action(async (names: readonly string[], options: Record<string, unknown>) => {
      const { runCommand } = await import('./run.ts')
      finish(await runCommand(names, options))
    })

  program
    .command('list')
    .summary('show the scenarios that come with Squall, by statement')
    .description('Shows the scenarios that come with Squall, under the statements of a highly available service that they put to the test.')
    .option('--json', 'one JSON object a line for each scenario')
    .addHelpText('after', '\nExample:\n  $ squall list')
    .action(async (options: { readonly json?: true }) => {
      const { listCommand } = await import('./list.ts')
      finish(listCommand(options))
    })

  program
    .command('check-determinism')
    .summary('play a seed in two processes and compare every event')
    .description(
      'Plays one seed in two processes, the second time with recording on and after other seeds, and compares every event. Where they part, shows the first event that differs.',
    )
    .argument('<scenario>', 'a name from `squall list`, or a scenario file')
    .option('--seed <n>', "the seed (default: the file's, else 1)", parseSeed)
    .option('--set <path=value>', 'change the scenario, may be repeated', collect)
    .addHelpText('after', '\nExample:\n  $ squall check-determinism az-outage --seed 3')
    .action(async (name: string, options: Record<string, unknown>) => {
      const { checkDeterminismCommand } = await import('./check-determinism.ts')
      finish(await checkDeterminismCommand(name, options))
    })

  program
    .command('live')
    .summary('run a region on real sockets, for real clients')
    .description(
      'Runs a whole region on sockets and files of this computer, until Ctrl-C. Any MQTT client can connect, version 3.1, 3.1.1 or 5.',
    )
    .option('--port <n>', 'where clients connect; 0: any free one', parsePort, 1883)
    .option('--host <address>', 'the IPv4 address to listen on', '127.0.0.1')
    .option('--data <folder>', "where the machines' files lie, kept for the next time (default: a temporary folder)")
    .option('--zones <n>', 'how many zones', parseZones, 3)
    .option('--access <open|file>', '`open` to everybody, or a JSON file with users and their topics', 'open')
    .option('--verbose', 'print every change of state')
    .addHelpText(
      'after',
      `
Examples:
  $ squall live
  $ squall live --port 0 --zones 1                a small region, on any free port
  $ squall live --data ./region --verbose         goes on where the last one in that folder ended

A file of access rules; what is left out is open, and empty:
  { "access": "permissions", "topicCreation": "console", "topics": ["meters"],
    "users": [{ "username": "reader", "password": "secret", "publish": [], "subscribe": ["meters/#"] }] }`,
    )
    .action(async (options: LiveCommandOptions) => {
      const { liveCommand } = await import('./live.ts')
      finish(await liveCommand(options))
    })

  for (const command of [program, ...program.commands]) command.exitOverride()
  return program
}

/** Runs one command line. @returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  // A reader that closes the pipe early (`| head`) is no fault.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit()
  })
  let code: number = exitCodes.held
  const program = createProgram((result) => {
    code = result
  })
  if (args.length === 0) {
    program.outputHelp()
    return exitCodes.held
  }
  try {
    await program.parseAsync([...args], { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.held : exitCodes.badInput
    if (error instanceof BadInput) {
      process.stderr.write(`${error.message}\n`)
      return exitCodes.badInput
    }
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n\n`)
    process.stderr.write(
      `This is a fault of Squall itself. Please report it with the lines above and this command:\n  squall ${args.join(' ')}\n`,
    )
    return exitCodes.ourFault
  }
}
