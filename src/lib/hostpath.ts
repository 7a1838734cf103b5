import {access, constants} from 'node:fs/promises'
import {delimiter, join} from 'node:path'

/** PATH with the sbin folders, which an ordinary user's may lack (depmod is there). */
export function hostPath(path = process.env.PATH ?? ''): string {
  return [path, '/usr/sbin', '/sbin'].join(delimiter)
}

/** Where a program of the host is; undefined when it is not there. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of hostPath().split(delimiter)) {
    const path = join(folder, name)
    const there = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (there) return path
  }
  return undefined
}
