/**
 * The contract suite: what `model/host.ts` and `model/world.ts` promise, as tests that run against every world. Whoever builds a world calls `hostContract`
 * from a test file of its own. What only one world can do (power loss, partitions, damaged disks) is tested beside that world.
 */
import { describe } from 'vitest'
import { checkIn, type MakeHarness } from './contract/bench.contract.ts'
import { connectionContract } from './contract/connections.contract.ts'
import { datagramContract } from './contract/datagrams.contract.ts'
import { filesContract } from './contract/files.contract.ts'
import { forwardContract } from './contract/forward.contract.ts'
import { processContract } from './contract/processes.contract.ts'
import { randomContract, timerContract } from './contract/time.contract.ts'
import { worldContract } from './contract/world.contract.ts'

export type { MakeHarness }

export function hostContract(name: string, makeHarness: MakeHarness): void {
  const check = checkIn(makeHarness)
  describe(`the contract of a host, on ${name}`, () => {
    timerContract(check)
    randomContract(makeHarness)
    connectionContract(check)
    forwardContract(check)
    datagramContract(check)
    filesContract(check)
    processContract(check)
    worldContract(check, makeHarness)
  })
}
