/** Whether to use colour on a stream: only on a terminal, and never where `NO_COLOR` is set (no-color.org); `FORCE_COLOR` overrules the terminal. */
export function wantsColour(stream: NodeJS.WriteStream): boolean {
  if (process.env.NO_COLOR !== undefined && process.env.NO_COLOR !== '') return false
  const forced = process.env.FORCE_COLOR
  if (forced !== undefined) return forced !== '0' && forced !== 'false'
  return stream.isTTY === true && process.env.TERM !== 'dumb'
}
