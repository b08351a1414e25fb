/**
 * Plants a bug: applies the patch to a copy of the sources, compiles it, and plays it in a thread of its own, so that several are played at a time and nothing of one is
 * left behind for the next. The service itself knows nothing of it, and a patch that no longer fits the service fails loudly.
 * The sound sources are compiled once; for each bug only the files that its patch changes are compiled again.
 *
 * The copies stand in `.gallery/` inside the repository, where packages are found as from anywhere else in it; the folder tells git to look away.
 */
import { execFile } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import type { Play, Played } from './planted-run.ts'

export interface Plant {
  play(play: Play): Promise<Played>
  /** Takes the copy away. */
  remove(): void
}

const root = fileURLToPath(new URL('..', import.meta.url))
const sources = ['model', 'sim', 'checks', 'scenarios', 'gallery']
const leftOut = /\.(test|test-support|contract)\.ts$|__snapshots__|\.(patch|yaml)$/
/** Types are of no interest: a bug may leave something unused. */
const compilerOptions = { noEmit: false, noCheck: true, declaration: false, rootDir: '.', outDir: 'compiled' }

const run = promisify(execFile)

export class Greenhouse {
  private readonly folder = join(root, '.gallery')
  private sound: Promise<string> | undefined

  /** @throws where the patch does not apply. */
  async plant(id: string, patch: string): Promise<Plant> {
    const folder = this.newFolder(id)
    const remove = () => rmSync(folder, { recursive: true, force: true })
    try {
      await this.applyPatch(id, patch, folder)
      this.sound ??= this.compileSound()
      cpSync(join(await this.sound, 'compiled'), join(folder, 'compiled'), { recursive: true })
      await compile(folder, { noResolve: true, types: [] })
    } catch (error) {
      remove()
      throw error
    }
    return { play: (play) => playIn(join(folder, 'compiled'), play), remove }
  }

  /** Takes the compiled sound sources away. */
  async close(): Promise<void> {
    if (this.sound !== undefined) rmSync(await this.sound, { recursive: true, force: true })
  }

  private newFolder(name: string): string {
    mkdirSync(this.folder, { recursive: true })
    writeFileSync(join(this.folder, '.gitignore'), '*\n')
    return mkdtempSync(join(this.folder, `${name}-`))
  }

  private async compileSound(): Promise<string> {
    const folder = this.newFolder('sound')
    for (const source of sources) {
      cpSync(join(root, source), join(folder, source), { recursive: true, filter: (path) => !leftOut.test(path) })
    }
    await compile(folder, {})
    return folder
  }

  /** To copies of the files that it names. */
  private async applyPatch(id: string, patch: string, folder: string): Promise<void> {
    for (const [, file] of patch.matchAll(/^--- a\/(\S+)$/gm)) {
      mkdirSync(join(folder, dirname(file!)), { recursive: true })
      copyFileSync(join(root, file!), join(folder, file!))
    }
    writeFileSync(join(folder, 'bug.patch'), patch)
    try {
      // Below the ceiling git sees no repository, and takes the paths of the patch from the folder that it runs in.
      await run('git', ['apply', 'bug.patch'], { cwd: folder, env: { ...process.env, GIT_CEILING_DIRECTORIES: this.folder } })
    } catch (error) {
      throw new Error(`${id}.patch does not apply to the service any more:\n${(error as { readonly stderr: string }).stderr || error}`)
    }
  }
}

async function compile(folder: string, options: object): Promise<void> {
  const configuration = { extends: '../../tsconfig.json', compilerOptions: { ...compilerOptions, ...options }, include: sources }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(configuration))
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder])
}

function playIn(compiled: string, play: Play): Promise<Played> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(join(compiled, 'gallery/planted-run.js'), { workerData: play, execArgv: [] })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the planted run ended with ${code} and said nothing`)))
  })
}
