/** What a fault does, and that it is over, in words that need no knowledge of its name. */
import type { Fault } from '../model/world.ts'

/** `a, b and c`; of a long list the first ones and how many more there are. */
export function listNames(names: readonly string[], limit = 4): string {
  if (names.length <= 1) return names.join('')
  const shown = names.length > limit ? [...names.slice(0, limit - 1), `${names.length - limit + 1} others`] : [...names]
  return `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`
}

function verb({ machines }: { readonly machines: readonly string[] }, one: string, many: string): string {
  return `${listNames(machines)} ${machines.length === 1 ? one : many}`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`
}

export function faultText(fault: Fault, phase: 'applied' | 'healed'): string {
  const gone = phase === 'applied'
  if (fault.kind === 'zone-outage') return outageText(fault, gone)
  if ('from' in fault) return betweenText(fault, gone)
  const names = listNames(fault.machines)
  switch (fault.kind) {
    case 'crash':
      return gone ? `the process of ${names} dies` : `the process of ${names} is started again`
    case 'restart':
      return `the process of ${names} dies and is started again at once`
    case 'power-loss':
      return gone ? verb(fault, 'loses power', 'lose power') : verb(fault, 'has power again', 'have power again')
    case 'pause':
      return gone ? `the process of ${names} stands still` : `the process of ${names} runs on`
    case 'slow':
      return gone
        ? `${verb(fault, 'works', 'work')} ${fault.factor} times slower`
        : verb(fault, 'is as fast as before', 'are as fast as before')
    case 'upgrade':
      return `${verb(fault, 'is', 'are')} stopped to be upgraded`
    case 'scale-in':
      return `${verb(fault, 'is', 'are')} stopped for good`
    case 'scale-out':
      return `${verb(fault, 'is', 'are')} added`
    case 'isolation': {
      if (!gone) return `${verb(fault, 'is', 'are')} connected again`
      if (fault.direction === 'in') return `nothing reaches ${names} any more`
      return fault.direction === 'out'
        ? `nothing that ${verb(fault, 'sends', 'send')} arrives any more`
        : `${verb(fault, 'is', 'are')} cut off from everything else`
    }
    case 'grey':
      return gone
        ? `${verb(fault, 'answers', 'answer')} who connects, and passes nothing on`
        : `${verb(fault, 'passes', 'pass')} things on again`
    case 'sync-failure':
      return gone ? `disk syncs fail on ${names}` : `disk syncs work again on ${names}`
    case 'disk-stall':
      return gone ? `the disk of ${names} stalls` : `the disk of ${names} works again`
    case 'disk-slow':
      return gone ? `the disk of ${names} is ${fault.factor} times slower` : `the disk of ${names} is as fast as before`
    case 'disk-full':
      return gone ? `the disk of ${names} is full` : `the disk of ${names} has room again`
    case 'lying-sync':
      return gone ? `the disk of ${names} says that it has synced, and has not` : `the disk of ${names} is honest again`
    case 'bit-rot':
      return `${fault.bits === 1 ? 'a bit flips' : `${fault.bits} bits flip`} on the disk of ${names}`
    case 'misdirected-write':
      return gone ? `the disk of ${names} writes to wrong places` : `the disk of ${names} writes to the right places again`
    case 'disk-loss':
      return gone ? `the disk of ${names} is gone for good` : `${verb(fault, 'starts', 'start')} with an empty disk`
    case 'clock-jump':
      return `the clock of ${names} jumps ${Math.abs(fault.byMs) / 1000} s ${fault.byMs < 0 ? 'back' : 'ahead'}`
    case 'clock-drift':
      return gone ? `the clock of ${names} runs ${fault.partsPerMillion < 0 ? 'slow' : 'fast'}` : `the clock of ${names} runs right again`
    case 'address-change':
      return `${verb(fault, 'gets another address', 'get other addresses')}, and what was open goes silent`
    case 'nat-timeout':
      return gone
        ? `the way back to ${names} is forgotten after ${fault.idleMs / 1000} s of silence`
        : `the way back to ${names} is remembered again`
    case 'fault-point':
      if (fault.point === 'dns-health-checks-stand-still') {
        return gone
          ? `${verb(fault, 'stops', 'stop')} to follow who is healthy`
          : `${verb(fault, 'follows', 'follow')} again who is healthy`
      }
      return gone
        ? `${verb(fault, 'takes', 'take')} the branch ${fault.point}`
        : `${verb(fault, 'leaves', 'leave')} the branch ${fault.point}`
  }
}

function outageText(fault: Extract<Fault, { kind: 'zone-outage' }>, gone: boolean): string {
  const zone = `zone ${fault.zone}`
  switch (fault.form) {
    case 'power':
      return gone ? `${zone} loses power` : `${zone} has power again`
    case 'isolated':
      return gone ? `${zone} is cut off from everything else` : `${zone} is connected again`
    case 'cut-from-zones':
      return gone ? `${zone} is cut off from the other zones` : `${zone} reaches the other zones again`
    case 'cut-from-internet':
      return gone ? `${zone} is cut off from the internet` : `${zone} is on the internet again`
    case 'nothing-in':
      return gone ? `nothing gets into ${zone}` : `packets get into ${zone} again`
    case 'nothing-out':
      return gone ? `nothing gets out of ${zone}` : `packets get out of ${zone} again`
    case 'control-plane':
      return gone ? `${zone} loses its control plane` : `${zone} has its control plane again`
    case 'brown-out':
      return gone
        ? `everything in ${zone} is ${fault.slowdown} times slower and loses ${percent(fault.lossProbability)} of packets`
        : `${zone} is as fast as before`
  }
}

function betweenText(fault: Extract<Fault, { from: readonly string[] }>, gone: boolean): string {
  const from = listNames(fault.from)
  const to = listNames(fault.to)
  switch (fault.kind) {
    case 'partition':
      if (!gone) return `packets from ${from} reach ${to} again`
      return `no packet from ${from} reaches ${to}${fault.bothWays ? ', nor the other way' : ''}`
    case 'link': {
      if (!gone) return `the network between ${from} and ${to} is as before`
      const harm = [
        ...(fault.addedLatencyMs > 0 ? [`${fault.addedLatencyMs} ms slower`] : []),
        ...(fault.lossProbability > 0 ? [`losing ${percent(fault.lossProbability)} of packets`] : []),
      ]
      return `the network between ${from} and ${to} is ${harm.join(' and ')}`
    }
    case 'datagram-loss':
      return gone
        ? `${percent(fault.probability)} of datagrams between ${from} and ${to} are lost`
        : `datagrams between ${from} and ${to} arrive again`
    case 'connection-reset':
      return `every connection between ${from} and ${to} is reset`
  }
}
