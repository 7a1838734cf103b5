import {chmod, copyFile, cp, mkdir, readdir, readFile, stat, writeFile} from 'node:fs/promises'
import {basename, dirname, join} from 'node:path'
import {parseDocument} from 'yaml'
import {type Case, loadCase} from '../case/case.js'
import {makeFolder} from '../lib/files.js'
import {seriesFiles} from '../series/mails.js'

/**
 * Copies all that a case is made of into FOLDER/NAME, a case again: what its
 * case.yaml names elsewhere stands in the folder then. Nothing else that is
 * beside a case.yaml is taken along.
 */
export async function copyCase({name, directory}: Case, folder: string): Promise<void> {
  // As it is written: a run may have only some of the fixes, with other parameters.
  const one = await loadCase(name, dirname(directory))
  const into = join(folder, name)
  await makeFolder(into)
  const document = parseDocument(await readFile(join(directory, 'case.yaml'), 'utf8'))
  const program = join('reproducer', basename(one.reproducer.program))
  document.setIn(['reproducer', 'program'], program)
  await copyTo(one.reproducer.program, join(into, program))
  await chmod(join(into, program), 0o755)
  if (one.kconfig !== undefined) {
    document.set('kconfig', `${name}.config`)
    await copyTo(one.kconfig, join(into, `${name}.config`))
  }
  for (const [index, {name: fix, source, probe}] of one.livepatches.entries()) {
    const place = join('livepatch', fix)
    document.setIn(['livepatches', index, 'source'], place)
    const files = (await readdir(source)).filter((file) => /\.[ch]$/.test(file))
    for (const file of files) await copyTo(join(source, file), join(into, place, file))
    if (probe !== undefined) {
      document.setIn(['livepatches', index, 'probe'], join(place, basename(probe)))
      await copyTo(probe, join(into, place, basename(probe)))
    }
  }
  for (const {name: candidate, series} of one.candidates) {
    for (const [line, path] of Object.entries(series)) {
      for (const file of await seriesFiles(path)) await copyTo(file, join(into, one.tree, candidate, line, basename(file)))
    }
  }
  const rulesets = [one.baseRuleset ?? {}, ...one.candidates.map(({ruleset = {}}) => ruleset)].flatMap((files) => Object.values(files))
  for (const file of rulesets) await copyTo(file, join(into, 'ruleset', basename(file)))
  if (one.firewall4) {
    document.setIn(['firewall4', 'router'], 'router')
    await cp(one.firewall4.router, join(into, 'router'), {recursive: true})
  }
  const story = join(directory, 'README.md')
  if (await stat(story).catch(() => undefined)) await copyTo(story, join(into, 'README.md'))
  await writeFile(join(into, 'case.yaml'), document.toString({lineWidth: 0}))
}

async function copyTo(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), {recursive: true})
  await copyFile(from, to)
}
