import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

const bin = fileURLToPath(new URL('./squall.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'squall-live-e2e-'))
/** Temporary folders of the command go here, so that a test sees what is left. */
const temporary = mkdtempSync(join(folder, 'tmp-'))
const running: ChildProcess[] = []

beforeAll(() => {
  if (!existsSync(new URL('../dist/bin/main.js', import.meta.url)))
    throw new Error('these tests play the built command line: run `npm run build` first')
})
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A running `squall live` on a free port: where it says that it is, and how it ends. */
async function live(...args: readonly string[]) {
  const child = spawn(process.execPath, [bin, 'live', '--port', '0', ...args], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.push(child)
  let errors = ''
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString()
  })
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  for await (const line of createInterface({ input: child.stdout })) {
    const [, url] = /^ready: (mqtt:\/\/127\.0\.0\.1:\d+) /.exec(line) ?? []
    if (url !== undefined) {
      child.stdout.resume()
      return { url, line, end: (signal: NodeJS.Signals) => child.kill(signal) && ended, errors: () => errors }
    }
  }
  throw new Error(`squall live ended before it was ready: ${errors}`)
}

const client = (url: string, clientId: string, options: IClientOptions = {}) =>
  connectAsync(url, { clientId, reconnectPeriod: 0, connectTimeout: 5000, ...options })

/** What comes with the next event of a client. */
function next(client: MqttClient, event: 'connect' | 'message' | 'disconnect'): Promise<readonly unknown[]> {
  return new Promise((resolve) => client.once(event as 'message', (...values) => resolve(values)))
}

describe('squall live', () => {
  test('takes clients in where it says, tells them when it ends, and leaves nothing behind', async () => {
    const region = await live('--zones', '1')
    expect(region.line).toMatch(/\(1 zone, \d+ machines, \d+ shards; files in a temporary folder, removed at the end; Ctrl-C ends it\)$/)
    const subscriber = await client(region.url, 'subscriber', { protocolVersion: 5 })
    const publisher = await client(region.url, 'publisher')
    const message = next(subscriber, 'message')
    await subscriber.subscribeAsync('greeting', { qos: 1 })
    await publisher.publishAsync('greeting', 'hello', { qos: 1 })
    expect(String((await message)[1])).toBe('hello')
    const goodbye = next(subscriber, 'disconnect')
    const code = region.end('SIGINT')
    expect((await goodbye)[0]).toMatchObject({ reasonCode: 0x8b })
    expect(await code).toBe(0)
    expect(region.errors()).toBe('')
    expect(spawnSync('ls', [temporary], { encoding: 'utf8' }).stdout).toBe('')
    await Promise.all([subscriber.endAsync(true), publisher.endAsync(true)])
  })

  test('goes on from the folder of the last time: a session that was kept is there, with what came for it', async () => {
    const data = join(folder, 'data')
    const first = await live('--zones', '1', '--data', data)
    const kept = { clean: false, protocolVersion: 4 } as const
    const subscriber = await client(first.url, 'kept', kept)
    await subscriber.subscribeAsync('news', { qos: 1 })
    await subscriber.endAsync()
    const publisher = await client(first.url, 'publisher')
    await publisher.publishAsync('news', 'while you were away', { qos: 1 })
    await publisher.endAsync()
    expect(await first.end('SIGTERM')).toBe(0)
    const otherForm = spawnSync(process.execPath, [bin, 'live', '--port', '0', '--data', data], { encoding: 'utf8' })
    expect(otherForm).toMatchObject({ status: 2, stdout: '' })
    expect(otherForm.stderr).toContain('holds a region of 1 zones, not of 3')
    const second = await live('--zones', '1', '--data', data)
    const back = connect(second.url, { clientId: 'kept', reconnectPeriod: 0, ...kept })
    const [[connack], [topic, text]] = await Promise.all([next(back, 'connect'), next(back, 'message')])
    expect(connack).toMatchObject({ sessionPresent: true })
    expect(`${topic}: ${text}`).toBe('news: while you were away')
    await back.endAsync()
    expect(await second.end('SIGTERM')).toBe(0)
  })

  test('says what is in the way of its port, and starts nothing', async () => {
    const squatter = createServer()
    squatter.listen(0, '127.0.0.1')
    await once(squatter, 'listening')
    const { port } = squatter.address() as { port: number }
    const { status, stdout, stderr } = spawnSync(process.execPath, [bin, 'live', '--port', String(port)], { encoding: 'utf8' })
    squatter.close()
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: '',
      stderr: `127.0.0.1:${port} is in use; choose another with --port\n`,
    })
    const elsewhere = spawnSync(process.execPath, [bin, 'live', '--host', '192.0.2.1'], { encoding: 'utf8' })
    expect(elsewhere.status).toBe(2)
    expect(elsewhere.stderr).toBe('192.0.2.1:1883 is not an address of this computer; choose another with --host\n')
  })

  test('keeps strangers out where a file of rules says so', async () => {
    const rules = join(folder, 'access.json')
    writeFileSync(
      rules,
      JSON.stringify({ access: 'permissions', users: [{ username: 'meter', password: 'secret', publish: ['meters/#'] }] }),
    )
    const region = await live('--zones', '1', '--access', rules)
    await expect(client(region.url, 'stranger')).rejects.toThrow('Bad username or password')
    const meter = await client(region.url, 'meter', { username: 'meter', password: 'secret' })
    await meter.publishAsync('meters/1', '17', { qos: 1 })
    await meter.endAsync()
    expect(await region.end('SIGINT')).toBe(0)
  })
})
