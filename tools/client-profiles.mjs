/**
 * Writes docs/client-profiles.md: the habits of every client profile, and how each comes through `az-outage`, by how its connection ends.
 *
 *     node tools/client-profiles.mjs      after `npm run build`; plays a run for each profile and ending
 */
import { existsSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const SEED = 1

const built = new URL('../dist/reports/recovery-table.js', import.meta.url)
if (!existsSync(built)) {
  process.stderr.write('not built: run `npm run build`\n')
  process.exit(2)
}
const { renderProfilePage } = await import(built.href)
const { connectionEndings, profileHabits, recoveryOf } = await import(
  new URL('../dist/scenarios/profile-recovery.js', import.meta.url).href
)

const habits = profileHabits()
const rows = []
for (const ending of connectionEndings) {
  for (const { name } of habits) {
    process.stderr.write(`${name}, ${ending}\n`)
    rows.push(recoveryOf(name, ending, SEED))
  }
}
const page = fileURLToPath(new URL('../docs/client-profiles.md', import.meta.url))
writeFileSync(page, renderProfilePage(habits, rows, SEED))
process.stderr.write(`wrote ${page}\n`)
