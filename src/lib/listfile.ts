import {readFile} from 'node:fs/promises'

/** The entries of a text file with one entry a line and comments after `#`. */
export async function readListFile(path: string): Promise<string[]> {
  const lines = (await readFile(path, 'utf8')).split('\n')
  return lines.map((line) => line.replace(/#.*$/, '').trim()).filter((line) => line !== '')
}
