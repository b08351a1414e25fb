#!/usr/bin/env node
// The entry that npm links. Plain JavaScript, so that a clone that was not built yet can say so instead of showing a stack.
import { existsSync } from 'node:fs'

const built = new URL('../dist/bin/main.js', import.meta.url)
if (existsSync(built)) {
  const { main } = await import(built.href)
  process.exitCode = await main(process.argv.slice(2))
} else {
  process.stderr.write('squall: not built: run `npm run build`\n')
  process.exitCode = 3
}
