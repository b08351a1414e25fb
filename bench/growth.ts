/**
 * How costs grow. Of a connecting client: with the number of clients. Of a message: with the number of clients at one rate for all of them together, with the number of shards, with the messages a second, and
 * with the time a run has gone on. Linear growth means that the cost of one message stays what it is.
 */
import { type Bench, Comparison, type Measurement, type Row } from './harness.ts'
import { type Played, play } from './play.ts'
import { type Load, reference } from './reference-load.ts'

function row(measurement: string, variant: string, played: Played): Row {
  return played.comparison.row({
    measurement,
    variant,
    per: 'message',
    notes: ({ median }) => ({ 'messages/s': 1e6 / median, 'events per message': played.eventsPerMessage }),
  })
}

/** Code that is compiled for the first variant would count against it alone. */
function warmUp(bench: Bench): void {
  play(bench, { ...reference, seconds: 10 }, { stretchSeconds: 10 })
}

export const clients: Measurement = {
  name: 'clients',
  summary: 'cost of a message against the number of clients, at 1,000 messages a second',
  run(bench) {
    warmUp(bench)
    return [100, 1000, 10_000].map((count) => {
      const load: Load = { clients: count, messagesPerSecond: 1000, seconds: 22, warmUpSeconds: 12 }
      return row(clients.name, `${count} clients`, play(bench, load, { stretchSeconds: 2, skipSeconds: 10 }))
    })
  },
}

export const connect: Measurement = {
  name: 'connect',
  summary: 'cost of a client that connects, subscribes and is served, against the number of clients',
  run(bench) {
    warmUp(bench)
    return [300, 3000].map((count) => {
      const connecting = new Comparison(bench.floor)
      const repeats = Math.max(1, Math.round(bench.rounds / 3))
      for (let seed = 1; seed <= repeats; seed++) {
        play(bench, { clients: count, messagesPerSecond: 0, seconds: 1 }, { seed, stretchSeconds: 1, connecting })
      }
      return connecting.row({
        measurement: connect.name,
        variant: `${count} clients within 2.5 s`,
        per: 'client',
        notes: ({ median }) => ({ 'clients/s': 1e6 / median }),
      })
    })
  },
}

export const shards: Measurement = {
  name: 'shards',
  summary: 'cost of a message against the number of shards of each kind, in the reference scenario',
  run(bench) {
    warmUp(bench)
    return [3, 6, 24, 64].map((count) => {
      const load: Load = { ...reference, seconds: 40, shards: count }
      return row(shards.name, `${count} topic, ${count} session shards`, play(bench, load, { stretchSeconds: 5, skipSeconds: 5 }))
    })
  },
}

export const rate: Measurement = {
  name: 'rate',
  summary: 'cost of a message against messages a second, with 300 clients',
  run(bench) {
    warmUp(bench)
    return [30, 300, 3000].map((messagesPerSecond) => {
      const stretchSeconds = Math.max(1500 / messagesPerSecond, 1)
      const load: Load = { clients: reference.clients, messagesPerSecond, seconds: 10 + 6 * stretchSeconds }
      const played = play(bench, load, { stretchSeconds, skipSeconds: 10 })
      return row(rate.name, `${messagesPerSecond} messages/s`, played)
    })
  },
}

export const time: Measurement = {
  name: 'time',
  summary: 'cost of a message against how long the run has gone on, in the reference scenario',
  run(bench) {
    warmUp(bench)
    const stretches = 10
    const { comparison } = play(bench, { ...reference, seconds: 240 }, { stretchSeconds: 60 / stretches })
    return [0, 1, 2, 3].map((quarter) => {
      const from = quarter * stretches
      const variant = `${quarter * 60} to ${(quarter + 1) * 60} simulated s`
      return comparison.row({ measurement: time.name, variant, per: 'message', range: [from, from + stretches] })
    })
  },
}
