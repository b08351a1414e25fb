/**
 * Plants a bug: copies the sources into a folder of their own, applies the patch there, and gives the runner of that copy. The service itself knows nothing
 * of it, and a patch that no longer fits the service fails loudly.
 *
 * The copies stand in `.gallery/` inside the repository, where packages are found as from anywhere else in it; the folder tells git to look away.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { runScenario } from '../scenarios/runner.ts'

export interface Plant {
  readonly runScenario: typeof runScenario
  /** Takes the copy away. */
  remove(): void
}

const root = fileURLToPath(new URL('..', import.meta.url))
const greenhouse = join(root, '.gallery')
const sources = ['model', 'sim', 'checks', 'scenarios']
const leftOut = /\.(test|test-support|contract)\.ts$|__snapshots__/

/** @throws where the patch does not apply. */
export async function plant(id: string, patch: string): Promise<Plant> {
  mkdirSync(greenhouse, { recursive: true })
  writeFileSync(join(greenhouse, '.gitignore'), '*\n')
  const folder = mkdtempSync(join(greenhouse, `${id}-`))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  for (const source of sources) {
    cpSync(join(root, source), join(folder, source), { recursive: true, filter: (path) => !leftOut.test(path) })
  }
  // Below the ceiling git sees no repository, and takes the paths of the patch from the folder that it runs in.
  const environment = { ...process.env, GIT_CEILING_DIRECTORIES: greenhouse }
  const git = spawnSync('git', ['apply', '-'], { cwd: folder, env: environment, input: patch, encoding: 'utf8' })
  if (git.status !== 0) {
    remove()
    throw new Error(`${id}.patch does not apply to the service any more:\n${git.error?.message ?? git.stderr}`)
  }
  const runner = (await import(pathToFileURL(join(folder, 'scenarios/runner.ts')).href)) as { readonly runScenario: typeof runScenario }
  return { runScenario: runner.runScenario, remove }
}
