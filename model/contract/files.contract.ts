/** Files on the machine's own disk. What a power loss takes is not here: only a virtual world can do it, and tests it where it does. */
import { describe, expect } from 'vitest'
import type { FileError, Host } from '../host.ts'
import { type Bench, type Check, type Machine, pattern, whileMs } from './bench.contract.ts'

async function read(bench: Bench, machine: Machine, name: string, offset: number, length: number): Promise<FileError | Buffer> {
  let outcome: FileError | Buffer | undefined
  await machine.do((host) =>
    host.files.read(name, offset, length, (error, bytes) => {
      bench.called('read')
      outcome = error ?? bytes
    }),
  )
  await bench.until(() => outcome !== undefined, `a read of ${name}`)
  return outcome!
}

async function sync(bench: Bench, machine: Machine, name: string, before: (host: Host) => void = () => {}): Promise<FileError | undefined> {
  let outcome: { error: FileError | undefined } | undefined
  await machine.do((host) => {
    before(host)
    host.files.sync(name, (error) => {
      bench.called('sync')
      outcome = { error }
    })
  })
  await bench.until(() => outcome !== undefined, `a sync of ${name}`)
  return outcome!.error
}

export function filesContract(check: Check): void {
  describe('files', () => {
    check('can be read as soon as they were appended to, in any part, fewer bytes at the end', async (bench) => {
      const machine = bench.machine('a')
      const whole = pattern(100_000, 1)
      await machine.do(({ files }) => {
        files.append('v3/log-0', whole.subarray(0, 7))
        files.append('v3/log-0', whole.subarray(7))
        expect(files.size('v3/log-0')).toBe(whole.length)
      })
      expect(await read(bench, machine, 'v3/log-0', 0, 200_000)).toEqual(whole)
      expect(await read(bench, machine, 'v3/log-0', 5, 10)).toEqual(whole.subarray(5, 15))
      expect(await read(bench, machine, 'v3/log-0', 99_990, 100)).toEqual(whole.subarray(99_990))
      expect(await read(bench, machine, 'v3/log-0', 100_000, 10)).toEqual(Buffer.alloc(0))
      expect(await read(bench, machine, 'v3/log-0', 150_000, 10)).toEqual(Buffer.alloc(0))
    })

    check('that do not exist have size 0 and cannot be read', async (bench) => {
      const machine = bench.machine('a')
      await machine.do(({ files }) => {
        expect(files.size('none')).toBe(0)
        expect(files.list('')).toEqual([])
        files.remove('none')
      })
      expect(await read(bench, machine, 'none', 0, 10)).toBe('not-found')
    })

    check('are made by an empty append', async (bench) => {
      const machine = bench.machine('a')
      await machine.do(({ files }) => {
        files.append('empty', Buffer.alloc(0))
        expect(files.list('')).toEqual(['empty'])
      })
      expect(await read(bench, machine, 'empty', 0, 10)).toEqual(Buffer.alloc(0))
    })

    check('are listed by prefix, sorted by code unit', async (bench) => {
      const machine = bench.machine('a')
      await machine.do(({ files }) => {
        for (const name of ['v3/log-2', 'v10/log-0', 'v3/log-10', 'Z', 'v3/meta-0', 'a', 'v3', 'é', '..'])
          files.append(name, Buffer.from(name))
        expect(files.list('v3/')).toEqual(['v3/log-10', 'v3/log-2', 'v3/meta-0'])
        expect(files.list('')).toEqual(['..', 'Z', 'a', 'v10/log-0', 'v3', 'v3/log-10', 'v3/log-2', 'v3/meta-0', 'é'])
        expect(files.list('x')).toEqual([])
      })
      expect(String(await read(bench, machine, 'v3/log-2', 0, 10))).toBe('v3/log-2')
    })

    check('call back in the order of the calls on one file', async (bench) => {
      const machine = bench.machine('a')
      const order: string[] = []
      await machine.do(({ files }) => {
        files.append('f', pattern(50_000, 2))
        files.read('f', 0, 10, () => order.push('read 1'))
        files.sync('f', () => order.push('sync 1'))
        files.read('f', 0, 50_000, () => order.push('read 2'))
        files.read('none', 0, 1, () => order.push('read of another file'))
        files.append('f', pattern(10, 3))
        files.sync('f', () => order.push('sync 2'))
        files.sync('f', () => order.push('sync 3'))
        files.read('f', 0, 1, () => order.push('read 3'))
      })
      await bench.until(
        () => order.length >= 7,
        () => `seven callbacks, got ${order}`,
      )
      expect(order.filter((entry) => entry !== 'read of another file')).toEqual([
        'read 1',
        'sync 1',
        'read 2',
        'sync 2',
        'sync 3',
        'read 3',
      ])
    })

    check('read what was in the file when the read was asked for', async (bench) => {
      const machine = bench.machine('a')
      let bytes: Buffer | undefined
      await machine.do(({ files }) => {
        files.append('f', Buffer.from('before'))
        files.read('f', 0, 100, (_error, got) => {
          bytes = got
        })
      })
      await bench.until(() => bytes !== undefined, 'the read')
      await machine.do(({ files }) => files.append('f', Buffer.from(' and after')))
      expect(String(bytes)).toBe('before')
    })

    check('are durable once synced, and not before', async (bench) => {
      const machine = bench.machine('a')
      const synced: { file: string; size: number }[] = []
      bench.world.observe({ onSynced: (name, file, size) => name === 'a' && synced.push({ file, size }) })
      const bytes = pattern(5000, 4)
      await machine.do(({ files }) => files.append('v0/log', bytes))
      expect(bench.world.durableBytes('a', 'v0/log').length).toBe(0)
      expect(await sync(bench, machine, 'v0/log')).toBeUndefined()
      expect(bench.world.durableBytes('a', 'v0/log')).toEqual(bytes)
      expect(bench.world.durableFiles('a', 'v0/')).toEqual(['v0/log'])
      expect(synced).toEqual([{ file: 'v0/log', size: 5000 }])
      await machine.do(({ files }) => files.append('v0/log', bytes))
      await bench.run(whileMs)
      expect(bench.world.durableBytes('a', 'v0/log')).toEqual(bytes)
    })

    check('cut at the tail are shorter at once, durably after a sync, and grow again from there', async (bench) => {
      const machine = bench.machine('a')
      await sync(bench, machine, 'f', ({ files }) => files.append('f', Buffer.from('0123456789')))
      await machine.do(({ files }) => {
        files.cutTail('f', 4)
        expect(files.size('f')).toBe(4)
      })
      expect(String(await read(bench, machine, 'f', 0, 100))).toBe('0123')
      expect(await sync(bench, machine, 'f', ({ files }) => files.append('f', Buffer.from('xy')))).toBeUndefined()
      expect(String(await read(bench, machine, 'f', 0, 100))).toBe('0123xy')
      expect(String(bench.world.durableBytes('a', 'f'))).toBe('0123xy')
    })

    check('that were removed are gone, and begin at nothing when made again', async (bench) => {
      const machine = bench.machine('a')
      await sync(bench, machine, 'f', ({ files }) => files.append('f', Buffer.from('old bytes')))
      await machine.do(({ files }) => {
        files.remove('f')
        expect(files.size('f')).toBe(0)
        expect(files.list('')).toEqual([])
      })
      expect(await read(bench, machine, 'f', 0, 100)).toBe('not-found')
      expect(bench.world.durableFiles('a', '')).toEqual([])
      await machine.do(({ files }) => files.append('f', Buffer.from('new')))
      expect(String(await read(bench, machine, 'f', 0, 100))).toBe('new')
    })

    check('keep what a killed process appended, synced or not, and call nobody back for it', async (bench) => {
      const machine = bench.machine('a')
      const other = bench.machine('b')
      await sync(bench, machine, 'f', ({ files }) => files.append('f', Buffer.from('synced, ')))
      const late: string[] = []
      await machine.do(({ files }) => {
        files.append('f', Buffer.from('appended'))
        files.append('g', Buffer.from('new file'))
        files.sync('g', () => late.push('sync'))
        files.read('f', 0, 10, () => late.push('read'))
        bench.world.apply({ kind: 'restart', machines: ['a'] })
      })
      await bench.until(() => machine.hosts.length === 2, 'a second process')
      expect(String(await read(bench, machine, 'f', 0, 100))).toBe('synced, appended')
      await machine.do(({ files }) => expect(files.list('')).toEqual(['f', 'g']))
      await other.do(({ files }) => expect(files.list('')).toEqual([]))
      await bench.run(whileMs)
      expect(late).toEqual([])
    })
  })
}
