import { describe, expect, test } from 'vitest'
import type { CloseReason, Connection, Host, RecordedEvent } from '../host.ts'
import { clientHello, TlsEnd } from '../wire/tls-flights.ts'
import { type TlsClient, TlsHandshakes } from './tls-handshakes.ts'

/** A machine whose timers fire when the test says so. */
class Machine {
  readonly due: (() => void)[] = []
  readonly events: RecordedEvent[] = []
  readonly work: string[] = []
  timeMs = 0
  readonly host = {
    recording: true,
    nowMs: () => this.timeMs,
    setTimer: (_delayMs: number, callback: () => void) => {
      this.due.push(callback)
      return { cancel: () => {} }
    },
    work: (kind: string) => this.work.push(kind),
    record: (event: RecordedEvent) => this.events.push(event),
  } as unknown as Host

  turn(): void {
    this.timeMs++
    for (const callback of this.due.splice(0)) callback()
  }
}

class Client implements TlsClient {
  readonly told: string[] = []
  readonly sent: Buffer[] = []
  closed = false
  readonly connection = { write: (bytes: Buffer) => this.sent.push(bytes), handler: undefined } as unknown as Connection

  isClosed(): boolean {
    return this.closed
  }

  onForeignTls(): void {
    this.told.push('foreign')
  }

  onData(_connection: Connection, bytes: Buffer): void {
    this.told.push(bytes.toString('latin1'))
  }

  onClose(_connection: Connection, reason: CloseReason): void {
    this.told.push(reason)
  }
}

function arrivals(count: number) {
  const machine = new Machine()
  const handshakes = new TlsHandshakes(machine.host)
  const clients = Array.from({ length: count }, () => new Client())
  const handlers = clients.map((client) => handshakes.begin(client))
  return { machine, clients, handlers, handshakes }
}

describe('TLS handshakes at a proxy', () => {
  test('are done one a turn, in the order in which they came, and each says how long it waited and how many still do', () => {
    const { machine, clients, handlers } = arrivals(3)
    handlers.forEach((handler, i) => void handler.onData(clients[i]!.connection, clientHello('1.3')))
    expect(machine.work).toEqual([])
    const answered = [1, 2, 3].map(() => {
      machine.turn()
      return clients.map(({ sent }) => sent.length).join('')
    })
    expect(answered).toEqual(['100', '110', '111'])
    expect(machine.work).toEqual(['tls-handshake', 'tls-handshake', 'tls-handshake'])
    expect(machine.events).toEqual([
      { kind: 'tls-handshake-done', waitedMs: 1, waiting: 2 },
      { kind: 'tls-handshake-done', waitedMs: 2, waiting: 1 },
      { kind: 'tls-handshake-done', waitedMs: 3, waiting: 0 },
    ])
    expect(machine.due).toEqual([])
  })

  test('of clients that have gone, or were sent away, cost nothing', () => {
    const { machine, clients, handlers } = arrivals(4)
    handlers.forEach((handler, i) => void handler.onData(clients[i]!.connection, clientHello('1.2')))
    handlers[0]!.onClose(clients[0]!.connection, 'reset')
    handlers[3]!.onClose(clients[3]!.connection, 'reset')
    clients[1]!.closed = true
    machine.turn()
    expect(clients.map(({ sent }) => sent.length)).toEqual([0, 0, 1, 0])
    expect(machine.work).toEqual(['tls-handshake'])
    expect(machine.events).toEqual([{ kind: 'tls-handshake-done', waitedMs: 1, waiting: 0 }])
    expect(clients[0]!.told).toEqual(['reset'])
    machine.turn()
    machine.turn()
    expect([machine.work.length, machine.due.length]).toEqual([1, 0])
  })

  test('lead to the client, with what stands behind them', () => {
    const { machine, clients, handlers } = arrivals(1)
    const [client, handler] = [clients[0]!, handlers[0]!]
    handler.onData(client.connection, clientHello('1.3'))
    machine.turn()
    const finished = new TlsEnd('1.3').read(client.sent[0]!)
    if (finished.kind !== 'answer') throw new Error(finished.kind)
    handler.onData(client.connection, Buffer.concat([finished.answer!, Buffer.from('CONNECT')]))
    expect(client.told).toEqual(['CONNECT'])
    expect(client.connection.handler).toBe(client)
  })

  test('stand in nobody’s way who speaks plain MQTT, and real TLS is told off', () => {
    const { machine, clients, handlers } = arrivals(2)
    handlers[0]!.onData(clients[0]!.connection, Buffer.from([0x10, 0x00]))
    expect(clients[0]!.told).toEqual(['\x10\0'])
    handlers[1]!.onData(clients[1]!.connection, Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]))
    expect(clients[1]!.told).toEqual(['foreign'])
    expect(machine.due).toEqual([])
  })
})
