import {type Series} from '../../src/series/series.js'
import {type Source} from '../../src/tree/source.js'
import {fileWith, mail, numbered, read, type Repository, repository} from './repository.js'
import {LINUX} from './tarball.js'

/** Stands for the kernel's script where the test is about what we make of it; test/vm/check.test.ts runs the real one. */
const CHECKPATCH = `#!/usr/bin/perl
my ($line, $file) = (0, '');
while (<>) {
	if (/^\\+\\+\\+ b\\/(\\S+)/) { $file = $1; }
	elsif (/^@@ -\\d+(?:,\\d+)? \\+(\\d+)/) { $line = $1 - 1; }
	elsif (/^[+ ]/) { $line++; }
	print "$file:$line: ERROR:SPACING: spaces required around that\\n" if /^\\+.*BAD/;
	print "$file:$line: CHECK:CAMELCASE: Avoid CamelCase\\n" if /^\\+.*oddName/;
	print ":9: WARNING:TYPO_SPELLING: 'teh' may be misspelled\\n" if /\\bteh\\b/;
}
`

const GET_MAINTAINER = `#!/usr/bin/perl
print "\\"Mae N. Tainer\\" <mae\\@example.org> (maintainer:NETWORKING [GENERAL])\\n";
print "Rev Iewer <rev\\@example.org> (reviewer:NETWORKING [GENERAL])\\n";
print "netdev\\@example.org (open list:NETWORKING [GENERAL])\\n";
`

export const COCCI = `virtual report
@r@
position p;
@@
gone@p(...);
@script:python depends on report@
p << r.p;
@@
coccilib.report.print_report(p[0], "WARNING: gone() is gone")
`

/** A tree with the least that the checks ask of linux, and a history of two commits. */
export async function tree(more: Record<string, string> = {}): Promise<{repo: Repository; source: Source; fixed: string}> {
  const files = {
    ...LINUX,
    'scripts/checkpatch.pl': CHECKPATCH,
    'scripts/get_maintainer.pl': GET_MAINTAINER,
    'net/Kconfig': 'config NET_KNOWN\n\tbool "known"\n',
    'net/a.c': numbered(40),
    'net/b.c': numbered(40),
    ...more,
  }
  const repo = await repository(files)
  const fixed = await repo.commit({'net/c.c': 'c\n'}, 'net: add c')
  const {source} = await sourceAt(repo)
  return {repo, source, fixed}
}

export async function sourceAt(repo: Repository): Promise<{source: Source}> {
  const commit = await repo.git('rev-parse', 'HEAD')
  const treeHash = await repo.git('rev-parse', 'HEAD^{tree}')
  const plain = {tree: 'linux', label: 'linux 6.12.7', version: '6.12.7', line: '6.12', origin: {git: commit}} as const
  return {source: {...plain, directory: repo.folder, commit, treeHash}}
}

/** A mail that is as it should be, but for what the test changes. */
export type Letter = {subject?: string; from?: string; header?: string; message?: string; signed?: string; notes?: string; diff?: string; fixes?: string}

export const SIGNED = 'Signed-off-by: Ann Author <ann@example.org>\n'

/** A change of a file as a diff: `git diff` itself writes it. */
export async function diffOf(repo: Repository, files: Record<string, string | null>): Promise<string> {
  await repo.write(files)
  await repo.git('add', '-A')
  const diff = await repo.git('diff', '--cached', '-M')
  await repo.git('reset', '-q', '--hard')
  return `${diff}\n`
}

export function letter({subject = '[PATCH net] net: do it well', from, header, message = 'It was not.\n', signed = SIGNED, notes = '', diff = '', fixes = ''}: Letter): string {
  return mail(`${notes}${notes ? '\n' : ''}${diff}`, {subject, ...(from === undefined ? {} : {from}), ...(header === undefined ? {} : {header}), body: `${message}\n${fixes}${signed}`})
}

export async function seriesOf(...mails: string[]): Promise<Series> {
  return await read(await fileWith(mails.join('')))
}
