/** The live world held to the contract of the ports, on real sockets, files and timers. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hostContract } from '../model/host.contract.ts'
import { createLiveWorld } from './world.ts'

hostContract('a live world', (options) => {
  const directory = mkdtempSync(join(tmpdir(), 'squall-live-'))
  const world = createLiveWorld({ directory, ...options })
  return {
    world,
    run: (ms) => sleep(ms),
    close: async () => {
      await world.close()
      rmSync(directory, { recursive: true })
    },
  }
})
