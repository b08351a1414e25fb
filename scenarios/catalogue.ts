/** The scenarios that come with Squall: a file each in `catalogue/`, known by the file's name. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadScenario } from './load.ts'
import type { Scenario } from './scenario.ts'

// Built code stands in dist/scenarios; the files stay where people edit them.
const folder = [new URL('./catalogue/', import.meta.url), new URL('../../scenarios/catalogue/', import.meta.url)].find((url) =>
  existsSync(url),
)

export interface CatalogueEntry {
  readonly name: string
  readonly file: string
  readonly text: string
}

export function catalogueNames(): readonly string[] {
  if (folder === undefined) return []
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort()
}

export function catalogueEntry(name: string): CatalogueEntry {
  const url = new URL(`${name}.yaml`, folder)
  return { name, file: fileURLToPath(url), text: readFileSync(url, 'utf8') }
}

export function loadCatalogue(): readonly Scenario[] {
  return catalogueNames().map((name) => {
    const { file, text } = catalogueEntry(name)
    return loadScenario(text, { file, name })
  })
}

/** Whether a run takes more than about five seconds: of many seeds only the first is played then. */
export function isSlow({ tags }: Pick<Scenario, 'tags'>): boolean {
  return tags.includes('slow')
}
