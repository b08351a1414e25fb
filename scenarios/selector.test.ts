import { describe, expect, test } from 'vitest'
import { type Selector, SelectorProblem, select } from './selector.ts'

const machines = [1, 2, 3].flatMap((zone) =>
  ['nameserver', 'broker', 'proxy'].map((role) => ({ name: `${role}-${zone}`, zone: `az${zone}`, role })),
)
const everything = [...machines, { name: 'clients-1', zone: 'internet', role: 'client' }]
const first = (): number => 0
const last = (bound: number): number => bound - 1

describe('a selector', () => {
  test.each<[Selector, readonly string[]]>([
    ['role broker', ['broker-1', 'broker-2', 'broker-3']],
    ['role: broker', ['broker-1', 'broker-2', 'broker-3']],
    ['zone az2', ['nameserver-2', 'broker-2', 'proxy-2']],
    ['role broker in zone az2', ['broker-2']],
    ['machine proxy-3', ['proxy-3']],
    ['proxy-3', ['proxy-3']],
    ['role client', ['clients-1']],
    [{ role: 'proxy', zone: 'az1' }, ['proxy-1']],
    [
      ['broker-1', 'zone az1'],
      ['broker-1', 'nameserver-1', 'proxy-1'],
    ],
  ])('%j selects %j', (selector, expected) => {
    expect(select(selector, everything, first)).toEqual(expected)
  })

  test('all is the region, without clients', () => {
    expect(select('all', everything, first)).toEqual(machines.map((machine) => machine.name))
  })

  test('a number draws that many, each once, by the numbers it is given', () => {
    expect(select('2 of role broker', everything, first)).toEqual(['broker-1', 'broker-2'])
    expect(select('2 of role broker', everything, last)).toEqual(['broker-2', 'broker-3'])
    expect(select({ role: 'broker', count: 3 }, everything, last)).toEqual(['broker-1', 'broker-2', 'broker-3'])
  })

  test('that has somebody alive stands for all that match; a number draws from those alive, as many as there are', () => {
    const alive = (name: string) => name !== 'broker-1' && name !== 'broker-2'
    expect(select('role broker', everything, first, alive)).toEqual(['broker-1', 'broker-2', 'broker-3'])
    expect(select('2 of role broker', everything, first, alive)).toEqual(['broker-3'])
    expect(select(['broker-1', 'role proxy'], everything, first, alive)).toEqual(['proxy-1', 'proxy-2', 'proxy-3'])
  })

  test('means machines that stand by only where no others match', () => {
    const spare = { name: 'proxy-4', zone: 'az1', role: 'proxy', standby: true }
    const withSpare = [...everything, spare]
    expect(select('role proxy in zone az1', withSpare, first)).toEqual(['proxy-1'])
    expect(select('4 of role proxy', withSpare, first)).toEqual(['proxy-1', 'proxy-2', 'proxy-3'])
    expect(select('proxy-4', withSpare, first)).toEqual(['proxy-4'])
    expect(select('proxy-4', withSpare, first, (name) => name !== 'proxy-4')).toEqual([])
  })

  test('of which nobody is alive stands for nobody', () => {
    const nobody = () => false
    expect(select('role broker', everything, first, nobody)).toEqual([])
    expect(select('2 of role broker', everything, first, nobody)).toEqual([])
  })

  test.each<[Selector, RegExp]>([
    ['role brokr', /no role brokr\. allowed: .*broker.*Did you mean broker\?/],
    ['zone az7', /no zone az7\. allowed: az1, az2, az3/],
    ['brokers-2', /no machine brokers-2\..*Did you mean broker-2\?/],
    ['az2', /az2 is a zone: write zone az2/],
    ['broker', /broker is a role: write role broker/],
    ['4 of role broker', /asks for 4 machines and only 3 match/],
    ['role client in zone az1', /matches no machine/],
    ['every second broker', /cannot read "every second broker"\. allowed: role broker/],
    ['role broker role proxy', /names two of role/],
  ])('%j is refused with a reason', (selector, reason) => {
    expect(() => select(selector, everything, first)).toThrow(SelectorProblem)
    expect(() => select(selector, everything, first)).toThrow(reason)
  })
})
