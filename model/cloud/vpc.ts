/** Which addresses lie in the region's own virtual network: those of RFC 1918, and the loopback addresses that a live region's machines have. */
export function isInVpc(host: string): boolean {
  const [first, second] = host.split('.', 2).map(Number)
  if (first === 10 || first === 127) return true
  if (first === 172) return second! >= 16 && second! <= 31
  return first === 192 && second === 168
}
