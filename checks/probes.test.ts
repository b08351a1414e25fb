import { expect, test } from 'vitest'
import { observeProbes } from './probes.ts'

function heardOf(kind: 'tcp' | 'mqtt', bytes: Buffer | undefined): readonly unknown[] {
  const heard: unknown[] = []
  const observer = observeProbes(kind, (...probe) => heard.push(probe))
  observer.onConnect(1, 'load-balancer-1', 'probe proxy-2', 1000)
  observer.onConnect(2, 'load-balancer-1', 'something else', 1000)
  observer.onOpen(1, 2000)
  observer.onOpen(2, 2000)
  if (bytes !== undefined) observer.onReceived(1, bytes, 3000, 2500)
  for (const id of [1, 2]) observer.onClosed(id, 'reset', 'self', 4000)
  return heard
}

test('a probe by handshake is answered when it opens, and heard of once', () => {
  expect(heardOf('tcp', undefined)).toEqual([['load-balancer-1', 'proxy-2', true, 2000]])
})

test('a probe by CONNECT is answered by a CONNACK alone', () => {
  expect(heardOf('mqtt', Buffer.from([0x20, 2, 0, 2]))).toEqual([['load-balancer-1', 'proxy-2', true, 3000]])
  for (const bytes of [undefined, Buffer.from([0xd0, 0])])
    expect(heardOf('mqtt', bytes)).toEqual([['load-balancer-1', 'proxy-2', false, 4000]])
})
