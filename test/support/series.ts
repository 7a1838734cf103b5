import {readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {copyOfCase} from './patchbench.js'

/** A copy of a shipped case whose candidate's patches for a line were changed; the folder for --cases. */
export async function withPatches(name: string, candidate: string, line: string, change: (patch: string, file: string) => string): Promise<string> {
  const cases = await copyOfCase(name)
  const folder = join(cases, name, 'linux', candidate, line)
  const files = (await readdir(folder)).filter((file) => file.endsWith('.patch'))
  let changed = false
  for (const file of files) {
    const before = await readFile(join(folder, file), 'utf8')
    const after = change(before, file)
    changed ||= after !== before
    await writeFile(join(folder, file), after)
  }
  if (!changed) throw new Error('the change changed nothing')
  return cases
}

/** The hunks of a patch, each with the file that it is for. */
export function hunksOf(patch: string): {path: string; text: string}[] {
  let path = ''
  return partsOf(patch).flatMap((text) => {
    path = /^diff --git a\/(\S+)/.exec(text)?.[1] ?? path
    return text.startsWith('@@ ') ? [{path, text}] : []
  })
}

/** A patch without the hunk that holds some text. */
export function withoutHunk(patch: string, text: string): string {
  return withoutNth(patch, hunksOf(patch).findIndex((hunk) => hunk.text.includes(text)))
}

/** A patch without its hunk of this number, counted from 0; a file that has no other is left out of it. */
export function withoutNth(patch: string, number: number): string {
  let index = -1
  const kept = partsOf(patch).filter((text) => !text.startsWith('@@ ') || (index += 1) !== number)
  return kept.filter((text, at) => !text.startsWith('diff --git ') || kept[at + 1]?.startsWith('@@ ')).join('')
}

function partsOf(patch: string): string[] {
  return patch.split(/^(?=@@ |diff --git )/m)
}

/** A patch with one more line in the hunk after a line that it adds. */
export function withLine(patch: string, after: string, line: string): string {
  const hunks = patch.split(/^(?=@@ |diff --git )/m)
  const grown = hunks.map((hunk) =>
    hunk.includes(after)
      ? hunk
          .replace(/^(@@ -\d+(?:,\d+)? \+\d+)(?:,(\d+))?/, (_, start: string, count = '1') => `${start},${Number(count) + 1}`)
          .replace(after, () => `${after}\n+${line}`)
      : hunk,
  )
  return grown.join('')
}

/** A mail that adds a file. */
export function newFile(path: string, subject: string, content: string): string {
  const lines = content.trimEnd().split('\n')
  return `From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Tester <tester@localhost>
Date: Fri, 20 Nov 2026 09:00:00 +0000
Subject: [PATCH] ${subject}

Signed-off-by: A Tester <tester@localhost>
---
 ${path} | ${lines.length} +

diff --git a/${path} b/${path}
new file mode 100644
index 0000000..1111111
--- /dev/null
+++ b/${path}
@@ -0,0 +1,${lines.length} @@
${lines.map((line) => `+${line}`).join('\n')}
`
}

/** The Makefile of a source folder that leaves all goals to one in the build folder, as the kernel's does with O=. */
export const DELEGATE = 'MAKEFLAGS += -rR\n.DEFAULT_GOAL := all\nMakefile: ;\n%: FORCE\n\t@$(MAKE) --no-print-directory -C $(O) $@\nFORCE: ;\n'
