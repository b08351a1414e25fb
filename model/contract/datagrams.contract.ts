/** Datagrams: whole, once, or not at all. The network of a region at rest loses none between two machines of a zone. */
import { describe, expect } from 'vitest'
import type { Address } from '../host.ts'
import { type Check, pattern, whileMs } from './bench.contract.ts'

export function datagramContract(check: Check): void {
  describe('datagrams', () => {
    check('arrive whole, with the address that an answer reaches', async (bench) => {
      const asker = bench.machine('asker')
      const answerer = bench.machine('answerer')
      const asked: { from: Address; bytes: Buffer }[] = []
      const answered: { from: Address; text: string }[] = []
      await answerer.do((host) => {
        const socket = host.bind(53, (from, bytes) => {
          bench.called('onDatagram')
          asked.push({ from, bytes })
          socket.send(from, Buffer.from(`${bytes.length} bytes`))
        })
      })
      const question = pattern(1200, 1)
      await asker.do((host) => {
        const socket = host.bind(5300, (from, bytes) => answered.push({ from, text: bytes.toString() }))
        socket.send(answerer.at(53), question)
      })
      await bench.until(() => answered.length > 0, 'the answer')
      expect(asked).toEqual([{ from: asker.at(5300), bytes: question }])
      expect(answered).toEqual([{ from: answerer.at(53), text: '1200 bytes' }])
    })

    check('are not joined or cut: each comes as it was sent', async (bench) => {
      const sender = bench.machine('sender')
      const receiver = bench.machine('receiver')
      const received: string[] = []
      await receiver.do((host) => host.bind(53, (_from, bytes) => received.push(bytes.toString())))
      await sender.do((host) => {
        const socket = host.bind(5300, () => {})
        for (const text of ['one', 'two', 'three', '']) socket.send(receiver.at(53), Buffer.from(text))
      })
      await bench.until(() => received.length >= 4, 'four datagrams')
      await bench.run(whileMs)
      expect(received.sort()).toEqual(['', 'one', 'three', 'two'])
    })

    check('to nobody are lost without a word, and a closed socket hears and sends nothing', async (bench) => {
      const sender = bench.machine('sender')
      const receiver = bench.machine('receiver')
      const received: string[] = []
      const socket = await receiver.do((host) => host.bind(53, (_from, bytes) => received.push(bytes.toString())))
      const out = await sender.do((host) => host.bind(5300, (_from, bytes) => received.push(bytes.toString())))
      await receiver.do(() => socket.close())
      await sender.do(() => out.send(receiver.at(53), Buffer.from('to a closed socket')))
      await receiver.do(() => {
        socket.send(sender.at(5300), Buffer.from('from a closed socket'))
        socket.close()
      })
      await bench.run(whileMs)
      expect(received).toEqual([])
      await receiver.do((host) => host.bind(53, (_from, bytes) => received.push(bytes.toString())))
      await sender.do(() => out.send(receiver.at(53), Buffer.from('to a new one')))
      await bench.until(() => received.length > 0, 'the last datagram')
      expect(received).toEqual(['to a new one'])
    })

    check('do not reach a process that was killed; the port is free for the next one', async (bench) => {
      const sender = bench.machine('sender')
      const received: string[] = []
      bench.machine('receiver', {
        boot: (host) => {
          host.bind(53, (_from, bytes) => received.push(`${host.bootId} ${bytes.toString()}`))
          return {}
        },
      })
      const receiver = { host: '10.1.0.2', port: 53 }
      const socket = await sender.do((host) => host.bind(5300, () => {}))
      const heal = bench.world.apply({ kind: 'crash', machines: ['receiver'] })
      await sender.do(() => socket.send(receiver, Buffer.from('dead')))
      await bench.run(whileMs)
      expect(received).toEqual([])
      heal()
      await bench.run(whileMs)
      await sender.do(() => socket.send(receiver, Buffer.from('alive')))
      await bench.until(() => received.length > 0, 'a datagram at the new process')
      expect(received).toHaveLength(1)
      expect(received[0]).toMatch(/ alive$/)
    })
  })
}
