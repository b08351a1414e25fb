/** The virtual world held to the contract of the ports. */
import { hostContract } from '../model/host.contract.ts'
import { createSimWorld } from './world.ts'

hostContract('a virtual world', (options) => {
  const world = createSimWorld(options)
  return {
    world,
    run: async (ms) => world.run(world.nowUs() + ms * 1000),
    close: async () => {},
  }
})
