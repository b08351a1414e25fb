/**
 * Who may speak with what, by address: the region's virtual network, and in it the service's own subnets, in which no client stands. What clients may not reach (brokers, disks,
 * nameservers, the console) takes connections only from there, as the rules of a security group have it: any other is reset before a byte of it is read.
 *
 * Left out: that a packet from the internet to a private address is not even routed; a caller therefore learns that somebody is there.
 */
import type { Connection, ConnectionHandler, Host } from '../host.ts'

/** Those of RFC 1918, and the loopback addresses that a live region's machines have. */
export function isInVpc(host: string): boolean {
  const [first, second] = host.split('.', 2).map(Number)
  if (first === 10 || first === 127) return true
  if (first === 172) return second! >= 16 && second! <= 31
  return first === 192 && second === 168
}

/** The subnets of the service's own machines, and of those who operate it. */
export function isOfService(host: string): boolean {
  return host.startsWith('10.')
}

/** As `Host.listen`, for the service's own machines alone. */
export function listenPrivately(host: Host, port: number, accept: (connection: Connection) => ConnectionHandler): void {
  host.listen(port, (connection) => {
    if (isOfService(connection.remote.host)) return accept(connection)
    host.reached('stranger turned away')
    return undefined
  })
}
