import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { FileError, Files } from '../model/host.ts'
import { LiveDisk } from './files.ts'

describe('a live disk', () => {
  let directory = ''
  let disk: LiveDisk
  let files: Files
  const synced: string[] = []

  const open = () => {
    disk = new LiveDisk(directory, (file, size) => synced.push(`${file} ${size}`))
    files = disk.filesFor((callback) => callback())
  }
  const sync = (name: string) => new Promise<FileError | undefined>((resolve) => files.sync(name, resolve))

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'squall-disk-'))
    synced.length = 0
    open()
  })
  afterEach(async () => {
    await disk.close()
    rmSync(directory, { recursive: true })
  })

  test('keeps all names in its own directory, and finds them again', async () => {
    const names = ['v3/log-0', '..', '../escape', '.hidden', 'a b%2F', '/etc/passwd']
    for (const name of names) files.append(name, Buffer.from(name))
    await disk.close()
    expect(readdirSync(directory)).toHaveLength(names.length)
    expect(existsSync(join(directory, '..', 'escape'))).toBe(false)
    open()
    expect(files.list('')).toEqual([...names].sort())
    for (const name of names) expect(disk.durableBytes(name).toString()).toBe(name)
  })

  test('tells a full disk by the next sync, once', async () => {
    await disk.close()
    symlinkSync('/dev/full', join(directory, 'log'))
    open()
    files.append('log', Buffer.from('no room'))
    expect(files.size('log')).toBe(0)
    expect(await sync('log')).toBe('full')
    expect(synced).toEqual([])
  })

  test('tells a write that the system refused by the next sync', async () => {
    files.append('x'.repeat(300), Buffer.from('the name is too long'))
    expect(await sync('x'.repeat(300))).toBe('failed')
    expect(files.list('')).toEqual([])
  })

  test('lets syncs that wait share the next one, and tells each in its turn', async () => {
    const order: string[] = []
    files.append('log', Buffer.from('one'))
    const first = sync('log').then(() => order.push('first'))
    files.append('log', Buffer.from('two'))
    const second = sync('log').then(() => order.push('second'))
    const third = sync('log').then(() => order.push('third'))
    await Promise.all([first, second, third])
    expect(order).toEqual(['first', 'second', 'third'])
    expect(synced).toEqual(['log 3', 'log 6'])
  })

  test('survives the removal of a file whose sync is running', async () => {
    files.append('log', Buffer.from('old'))
    const running = sync('log')
    files.remove('log')
    files.append('log', Buffer.from('newer'))
    const next = sync('log')
    expect(await running).toBeUndefined()
    expect(await next).toBeUndefined()
    expect(disk.durableBytes('log').toString()).toBe('newer')
    expect(readFileSync(join(directory, 'log'), 'utf8')).toBe('newer')
    expect(synced).toEqual(['log 5'])
  })

  test('takes what it finds at the start for durable', async () => {
    await disk.close()
    writeFileSync(join(directory, 'v1%2Flog'), 'from before')
    open()
    expect(disk.durableFiles('v1/')).toEqual(['v1/log'])
    files.append('v1/log', Buffer.from(', and more'))
    expect(disk.durableBytes('v1/log').toString()).toBe('from before')
    expect(await sync('v1/log')).toBeUndefined()
    expect(disk.durableBytes('v1/log').toString()).toBe('from before, and more')
  })

  test('refuses an empty name, as a fault of the program', () => {
    expect(() => files.append('', Buffer.from('x'))).toThrow('file name')
  })
})
