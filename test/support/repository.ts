import {execa} from 'execa'
import {mkdir, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {type Patch, readSeries, type Series} from '../../src/series/series.js'
import {scratch} from './scratch.js'

// The tests' git, and that of the code under test, knows nothing of the user's settings.
Object.assign(process.env, {GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1'})

const WHO = {
  ...{GIT_AUTHOR_NAME: 'Ann Author', GIT_AUTHOR_EMAIL: 'ann@example.org', GIT_AUTHOR_DATE: '2026-01-02T03:04:05Z'},
  ...{GIT_COMMITTER_NAME: 'Carl Committer', GIT_COMMITTER_EMAIL: 'carl@example.org', GIT_COMMITTER_DATE: '2026-01-02T03:04:05Z'},
}

export type Files = Record<string, string | null>

const signal = new AbortController().signal

/** A throw-away git repository without user.name. */
export class Repository {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  async git(...args: string[]): Promise<string> {
    return (await execa('git', ['-C', this.folder, ...args], {env: WHO})).stdout
  }

  async write(files: Files): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const place = join(this.folder, path)
      await mkdir(dirname(place), {recursive: true})
      await (content === null ? rm(place) : writeFile(place, content))
    }
  }

  async commit(files: Files, message = 'a change'): Promise<string> {
    await this.write(files)
    await this.git('add', '-A')
    await this.git('commit', '-q', '--allow-empty', '-m', message)
    return await this.git('rev-parse', 'HEAD')
  }

  /** Changes as a series made with git format-patch on a branch that is gone again; the folder that it is in. */
  async series(changes: readonly Files[], options: {titles?: string[]; base?: string; args?: string[]} = {}): Promise<string> {
    const folder = await scratch()
    const before = await this.git('symbolic-ref', '--short', 'HEAD')
    await this.git('checkout', '-q', '-b', 'work', options.base ?? 'HEAD')
    for (const [index, files] of changes.entries()) await this.commit(files, options.titles?.[index] ?? `change ${index + 1}`)
    await this.git('format-patch', '-q', '-M', `-${changes.length}`, '-o', folder, ...(options.args ?? []))
    await this.git('checkout', '-q', before)
    await this.git('branch', '-q', '-D', 'work')
    return folder
  }

  /** All of the repository that applying could change, and nothing that may: objects are added. */
  async state(): Promise<unknown> {
    const [status, head, refs, worktrees, staged] = await Promise.all([
      this.git('--no-optional-locks', 'status', '--porcelain', '--ignored'),
      readFile(join(this.folder, '.git/HEAD'), 'utf8'),
      this.git('for-each-ref'),
      this.git('worktree', 'list', '--porcelain'),
      this.git('ls-files', '--stage'),
    ])
    const index = (await readFile(join(this.folder, '.git/index'))).toString('base64')
    const config = await readFile(join(this.folder, '.git/config'), 'utf8')
    // git leaves the empty .git/worktrees or not; what is in it counts.
    const metadata = (await readdir(join(this.folder, '.git'))).filter((name) => name !== 'worktrees').sort()
    const files: Record<string, string> = {}
    for (const path of (await this.git('ls-files')).split('\n')) {
      files[path] = await readFile(join(this.folder, path), 'base64').catch(() => 'none')
    }
    return {status, head, refs, worktrees, staged, index, config, metadata, files}
  }
}

/** A repository with one commit. */
export async function repository(files: Files): Promise<Repository> {
  const repo = new Repository(await scratch())
  await repo.git('init', '-q', '-b', 'main')
  await repo.commit(files, 'the beginning')
  return repo
}

/** Numbered lines, some of them changed. */
export function numbered(count: number, changed: Record<number, string> = {}): string {
  return Array.from({length: count}, (_, index) => `${changed[index + 1] ?? `line ${index + 1}`}\n`).join('')
}

/** A mail around a diff, with whatever header it should have. */
export function mail(diff: string, {subject = '[PATCH] a change', from = 'Ann Author <ann@example.org>', header = '', body = 'Why.\n'} = {}): string {
  const fields = `From: ${from}\nDate: Fri, 2 Jan 2026 03:04:05 +0000\nSubject: ${subject}\n${header}`
  return `From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n${fields}\n${body}---\n\n${diff}-- \n2.39.5\n\n`
}

/** A diff that makes a file. */
export function creation(path: string, {mode = '100644', content = 'text\n'} = {}): string {
  const end = content.endsWith('\n') ? '' : '\n\\ No newline at end of file\n'
  const lines = content.replace(/\n$/, '').split('\n').map((line) => `+${line}`)
  return `diff --git a/${path} b/${path}\nnew file mode ${mode}\nindex 000000000000..8e27be7d6154\n--- /dev/null\n+++ b/${path}\n@@ -0,0 +1${lines.length > 1 ? `,${lines.length}` : ''} @@\n${lines.join('\n')}${end || '\n'}`
}

/** A file with a text in a folder of its own. */
export async function fileWith(text: string | Buffer, name = 'series.mbox'): Promise<string> {
  const file = join(await scratch(), name)
  await writeFile(file, text)
  return file
}

export async function read(...paths: string[]): Promise<Series> {
  return await readSeries(signal, paths)
}

/** The only patch of a text that holds one mail. */
export async function readOne(text: string | Buffer): Promise<Patch> {
  const {patches} = await read(await fileWith(text))
  if (patches.length !== 1) throw new Error(`${patches.length} patches`)
  return patches[0]!
}
