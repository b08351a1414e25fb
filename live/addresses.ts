/**
 * Where a region's addresses lie on one real machine: every machine gets a loopback address of its own, so that the service binds, connects
 * and sees `remote` as in its region. Linux answers on the whole of 127.0.0.0/8 without any set-up; macOS does not.
 *
 * Promised: the mapping is one to one both ways, for addresses that no machine has yet too. Two live worlds on one computer do not meet: each begins
 * at a place of 127/8 drawn at random, unless told one. An address in 127/8 that is not ours stays as it is: it is somebody outside.
 * Ports below 1024, which need a privilege (DNS: 53), are moved to the top of the range, which a region therefore must not use itself.
 * A floating address has no place of its own: it is where the machine is that it reaches at the moment.
 * A port of a machine may be pinned to an address of one's own choice, where programs outside the region expect it.
 *
 * Left out: names, IPv6, silence. A machine that is not there is answered for by the one kernel: refused, where a real network would say nothing.
 */
import { randomInt } from 'node:crypto'
import type { Address } from '../model/host.ts'

const loopbackNetwork = 127 * 2 ** 24
const privilegedPorts = 1024
const movedPorts = 65536 - privilegedPorts
/** Room for the machines of one world. */
const worldSize = 2 ** 16

export class LoopbackMap {
  readonly #realByRegion = new Map<string, string>()
  readonly #regionByReal = new Map<string, string>()
  readonly #pinned = new Map<string, Address>()
  /** Of floating addresses: that of the machine which they reach. */
  readonly #holders = new Map<string, string>()
  #next: number

  constructor(first?: string) {
    this.#next = first === undefined ? loopbackNetwork + randomInt(worldSize, 2 ** 24 - worldSize) : numberOf(first)
    if (!this.#isLoopback(this.#next)) throw new RangeError(`expected a first address in 127.0.0.0/8, got ${first}`)
  }

  /** From now on this port of the region is at `real`, as it stands: no port is moved there. Who connects from it is still seen by the machine's own address. */
  pin(region: Address, real: Address): void {
    this.#pinned.set(`${region.host}:${region.port}`, real)
  }

  /** From now on the floating address is where the machine at `holder` is. */
  float(floating: string, holder: string): void {
    this.#holders.set(floating, holder)
  }

  toReal(address: Address): Address {
    const pinned = this.#pinned.size > 0 ? this.#pinned.get(`${address.host}:${address.port}`) : undefined
    if (pinned !== undefined) return pinned
    const holder = this.#holders.get(address.host)
    if (holder !== undefined) return this.toReal({ host: holder, port: address.port })
    const known = this.#realByRegion.get(address.host)
    if (known !== undefined) return { host: known, port: movedUp(address.port) }
    if (this.#isLoopback(numberOf(address.host))) return address
    const real = textOf(this.#next)
    this.#next += 1
    this.#realByRegion.set(address.host, real)
    this.#regionByReal.set(real, address.host)
    return { host: real, port: movedUp(address.port) }
  }

  toRegion(host: string, port: number): Address {
    const known = this.#regionByReal.get(host)
    return known === undefined ? { host, port } : { host: known, port: port >= movedPorts ? port - movedPorts : port }
  }

  #isLoopback(address: number): boolean {
    return address > loopbackNetwork && address < loopbackNetwork + 2 ** 24 - 1
  }
}

function movedUp(port: number): number {
  if (!Number.isInteger(port) || port < 0 || port >= movedPorts) {
    throw new RangeError(`expected a port from 0 to ${movedPorts - 1} on a live machine, got ${port}`)
  }
  return port > 0 && port < privilegedPorts ? port + movedPorts : port
}

function numberOf(host: string): number {
  const parts = host.split('.').map(Number)
  if (parts.length !== 4 || !parts.every((part) => Number.isInteger(part) && part >= 0 && part <= 255)) {
    throw new RangeError(`expected an IPv4 address, got ${host}`)
  }
  return parts.reduce((sum, part) => sum * 256 + part, 0)
}

function textOf(address: number): string {
  return [24, 16, 8, 0].map((bits) => Math.floor(address / 2 ** bits) % 256).join('.')
}
