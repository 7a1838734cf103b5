import {execa} from 'execa'
import {projectPath} from '../../src/lib/project.js'

/** Builds what bin/patchbench runs; of test files that ask at once, the second finds nothing left to write. */
export async function build(): Promise<void> {
  await execa('flock', [projectPath('package.json'), 'npm', 'run', '--silent', 'prepare'], {cwd: projectPath()})
}
