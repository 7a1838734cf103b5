import {Argument, Command, CommanderError, InvalidArgumentError, Option} from 'commander'
import {setMaxListeners} from 'node:events'
import {DEBUG_SETS} from './kernel/debug.js'
import {cacheDirectory} from './lib/cache.js'
import {type Context} from './lib/context.js'
import {CouldNotRun, describeSystemError, EXIT, InputError, Interrupted, systemCode} from './lib/errors.js'
import {projectVersion} from './lib/project.js'
import {shellWords} from './lib/quote.js'
import {printable} from './lib/text.js'
import {type ApplyCommandOptions} from './commands/apply.js'
import {type BuildKernelOptions, type BuildRulesetOptions} from './commands/build.js'
import {type BundleOptions} from './commands/bundle.js'
import {type CleanOptions} from './commands/cache.js'
import {type CheckOptions} from './commands/check.js'
import {completionScript, SHELLS} from './commands/completion.js'
import {type CompareOptions} from './commands/compare.js'
import {type EditOptions} from './commands/edit.js'
import {type HostCommandOptions} from './commands/host.js'
import {type ImportCommandOptions} from './commands/import.js'
import {type LoadOptions, type PreflightOptions} from './commands/livepatch.js'
import {type ReportOptions} from './commands/report.js'
import {type ReproduceOptions} from './commands/reproduce.js'
import {type CollectCommandOptions, type MitigateCommandOptions} from './commands/router.js'
import {type SendOptions} from './commands/send.js'
import {type ShellOptions} from './commands/shell.js'
import {type WatchOptions} from './commands/watch.js'

const version = projectVersion()
const VARIANTS = ['base', 'livepatched', 'reverted', 'patched', 'ruleset']

/** Within this time, in ms, signals are one request: timeout(1) signals its child, and then the group with it. */
const SAME_REQUEST = 1000

const interruption = new AbortController()
setMaxListeners(0, interruption.signal)
let interrupted = 0
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (!interruption.signal.aborted) {
      interrupted = Date.now()
      // Compilers and machines take a moment; whoever waits without a word presses Ctrl-C again.
      setTimeout(() => say('interrupted, stopping what runs', EXIT.interrupted), SAME_REQUEST).unref()
      return interruption.abort(new Interrupted())
    }
    if (Date.now() - interrupted < SAME_REQUEST) return
    // Children die with us.
    process.exit(say('interrupted again, and left at once: what was begun is cleaned up by the next run', EXIT.interrupted))
  })
}

// A reader that went away (`| head`) is no reason to leave machines behind.
process.stdout.on('error', (error) => {
  if (systemCode(error) !== 'EPIPE') process.exitCode = say(`standard output cannot be written (${systemCode(error)})`, EXIT.couldNotRun)
})
process.stderr.on('error', (error) => {
  if (systemCode(error) !== 'EPIPE') process.exitCode = EXIT.couldNotRun
})

const program = new Command('patchbench')
  .description('Checks the sentence "this patch fixes that bug": reproduce, livepatch, compare.')
  .version(version)
  .configureOutput({outputError: (text, write) => write(text.replace(/^error: /, 'patchbench: '))})
  .exitOverride()
  .showHelpAfterError("(see 'patchbench --help')")

program
  .command('doctor')
  .description('what this machine has and lacks, and the one line that installs it')
  .option('--ucode <path>', 'the program ucode, for rulesets of firewall4; default that on PATH')
  .option('--json', 'print JSON')
  .action(async (options: {json?: boolean; ucode?: string}) => {
    const {doctorCommand} = await import('./commands/doctor.js')
    finish(await doctorCommand(context, options))
  })

program
  .command('cases')
  .description('what there is to prove')
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--json', 'print JSON')
  .action(async (options: {cases?: string; json?: boolean}) => {
    const {casesCommand} = await import('./commands/cases.js')
    const {text, broken} = await casesCommand(options)
    finish({text, exit: broken.length > 0 ? EXIT.input : EXIT.ok, complaints: broken})
  })

withUcode(withMachineOptions(withKernelOptions(program.command('compare'))))
  .description('reproduce each case on base and with each fix, and say what the fix is worth')
  .argument('[case...]', 'cases, all of them where none is named')
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--variant <list>', `which of ${VARIANTS.join(', ')}; base is always run; patched builds kernels`, variants)
  .option('--livepatch <list>', "which of the cases' livepatches; all where none is named", names)
  .option('--candidate <list>', "which of the cases' candidates; all where none is named", names)
  .option('--from-patch', "make the livepatches of the candidates' series, by the kernel tree's own klp-build (7.2)")
  .option('--repeat <n>', 'run each variant n times and report disagreement as flaky', count, 1)
  .option('--jobs <n>', 'machines side by side; default the cores', count)
  .option('--no-trace', "leave out the sessions that record the cases' probes")
  .option('--no-keep-going', 'stop after the first case that is not as expected')
  .addOption(new Option('--set <name=value>', 'a reproducer parameter of case.yaml').argParser(collect).default([], 'none'))
  .option('--output <folder>', 'where the run leaves its evidence')
  .option('--json', 'print JSON')
  .action(async (names: string[], options: CompareOptions) => {
    const {compareCommand} = await import('./commands/compare.js')
    finish(await compareCommand(context, names, options, commandLine()))
  })

withUcode(withMachineOptions(withKernelOptions(program.command('shell'))))
  .description('an interactive machine in the state of a variant; exit ends it')
  .argument('<case>')
  .addOption(new Option('--variant <variant>', 'the state').choices(VARIANTS).default('base'))
  .option('--livepatch <name>', "which of the case's livepatches; default the first")
  .option('--candidate <name>', "which of the case's candidates; default the first")
  .option('--vng', "boot with virtme-ng, with this host's files read-only under it")
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .addOption(new Option('--set <name=value>', 'a reproducer parameter of case.yaml').argParser(collect).default([], 'none'))
  .addHelpText('after', examples('shell vrf-lookup --variant livepatched', 'shell vrf-lookup --variant patched --candidate opt-in'))
  .action(async (name: string, options: ShellOptions) => {
    const {shellCommand} = await import('./commands/shell.js')
    process.exitCode = await shellCommand(context, name, options)
  })

program
  .command('apply')
  .description('apply a series to a tree, in a worktree of its own, and explain what does not fit')
  .argument('<series...>', 'an mbox, a folder of patches, patch files, or a case')
  .option('--candidate <name>', "which of the case's candidates; default the first")
  .option('--kernel <line>', "the case's series for this line; default 6.12")
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--git <folder>', 'a git tree of yours')
  .option('--source <line|url|tarball>', "or the distribution's source of a kernel line (6.12), a git URL, a tarball")
  .addOption(new Option('--tree <tree>', 'what is in --source; default linux').choices(['linux', 'firewall4']))
  .option('--base <rev>', 'the commit to apply to; default what is checked out')
  .option('--in-place', 'apply on the checked-out branch; it stays as it is unless all of the series applies')
  .option('--refresh', 'look for a newer --source now')
  .option('--json', 'print JSON')
  .addHelpText('after', examples('apply my-fix.mbox --git ~/linux --base v6.12', 'apply outgoing/ --source 6.12', 'apply vrf-lookup --candidate opt-in --kernel 6.1'))
  .action(async (paths: string[], options: ApplyCommandOptions) => {
    const {applyCommand} = await import('./commands/apply.js')
    finish(await applyCommand(context, paths, options))
  })

program
  .command('import')
  .description('make a case of your own from a series')
  .argument('<series...>', 'an mbox, a folder of patches, patch files, a message id (by b4), or with --git a range of commits')
  .option('--name <name>', "the case's name; default that of the file, or one made of the title")
  .option('--candidate <name>', 'what the series is called in the case', 'as-proposed')
  .option('--git <folder>', 'a git tree of yours, to import a range like origin/main..work from')
  .addOption(new Option('--tree <tree>', 'what the series is for').choices(['linux']).default('linux'))
  .option('--kernel <lines>', "the kernel lines to try it on, by the distribution's sources; default 6.12")
  .option('--source <where>', 'a git folder, a git URL or a tarball to try it on instead')
  .option('--base <rev>', 'the revision of --source; default the one that the mails state, or what is checked out')
  .option('--refresh', 'look for newer sources now')
  .option('--cases <folder>', 'where the case goes; default the folder of patchbench.yaml, else the working folder')
  .option('--json', 'print JSON')
  .action(async (words: string[], options: ImportCommandOptions) => {
    const {importCommand} = await import('./commands/import.js')
    finish(await importCommand(context, words, options))
  })

program
  .command('case')
  .description('make a case of your own')
  .command('new')
  .description('a case to start from, with a reproducer that runs and says what to write')
  .argument('<name>')
  .option('--title <text>', 'what goes wrong, in a line')
  .option('--kernel <lines>', 'the kernel lines that it is for; default 6.12')
  .option('--cases <folder>', 'where the case goes; default the folder of patchbench.yaml, else the working folder')
  .option('--json', 'print JSON')
  .action(async (name: string, options: Parameters<typeof import('./commands/import.js').newCaseCommand>[1]) => {
    const {newCaseCommand} = await import('./commands/import.js')
    finish(await newCaseCommand(name, options))
  })

program
  .command('edit')
  .description("check a candidate's series out as commits, for changing it")
  .argument('<case>')
  .argument('[folder]', 'where; default CASE.edit beside the case')
  .option('--candidate <name>', "which of the case's candidates; default the first")
  .option('--kernel <line>', 'the line whose series is edited; default 6.12')
  .option('--git <folder>', "a worktree of this git tree of yours, instead of the distribution's source of the line")
  .option('--base <rev>', 'the commit of --git to start from; default the one that the mails state, or what is checked out')
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--json', 'print JSON')
  .action(async (name: string, folder: string | undefined, options: EditOptions) => {
    const {editCommand} = await import('./commands/edit.js')
    finish(await editCommand(context, name, folder, options))
  })

program
  .command('commit')
  .description("make the work in the folder of 'edit' part of the series, each change in the patch that it belongs to")
  .argument('<case>')
  .option('--patch <which>', 'the patch that takes all of it, by number or a part of its subject')
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--json', 'print JSON')
  .action(async (name: string, options: Parameters<typeof import('./commands/edit.js').commitCommand>[2]) => {
    const {commitCommand} = await import('./commands/edit.js')
    finish(await commitCommand(context, name, options))
  })

withUcode(withMachineOptions(withKernelOptions(program.command('watch'))))
  .description('compare a case, and again after every save of what it hangs on')
  .argument('<case>')
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--variant <list>', `which of ${VARIANTS.join(', ')}; default the livepatches, or the series that is edited`, variants)
  .option('--livepatch <list>', "which of the case's livepatches; all where none is named", names)
  .option('--candidate <list>', "which of the case's candidates; default the one that is edited, else all", names)
  .option('--jobs <n>', 'machines side by side; default the cores', count)
  .addOption(new Option('--set <name=value>', 'a reproducer parameter of case.yaml').argParser(collect).default([], 'none'))
  .option('--output <folder>', 'where the evidence of the last comparison is')
  .option('--json', 'print JSON, one document a line')
  .action(async (name: string, options: WatchOptions) => {
    const {watchCommand} = await import('./commands/watch.js')
    await watchCommand(context, name, options, commandLine())
  })

withSourceOptions(program.command('check'))
  .description("look over a candidate's series as a maintainer would, before it is sent")
  .argument('<case>')
  .option('--no-build', 'do not build the patches')
  .option('--no-coccinelle', "leave out the tree's semantic patches, which take minutes")
  .option('--debug <list>', `build with ${DEBUG_SETS.join(', ')}`, debugSets)
  .option('--idle', 'build when nobody else wants the processor')
  .addOption(new Option('--format <format>', 'how it is said').choices(['table', 'json', 'ktap', 'github']).default('table'))
  .option('--json', 'print JSON')
  .action(async (name: string, options: CheckOptions) => {
    const {checkCommand} = await import('./commands/check.js')
    finish(await checkCommand(context, name, options))
  })

withSourceOptions(program.command('send'))
  .description("make the mails of a candidate's series, with the evidence; only --send sends them")
  .argument('<case>')
  .option('--dry-run', 'write the mails to a folder; the default')
  .option('--to-review', 'everything but the sending, by git send-email as well')
  .option('--send', 'send the mails by git send-email')
  .option('--resume', 'send what is left of a series that is half sent')
  .addOption(new Option('--arrived <n>', 'with --resume: mail n, 0 is the cover letter, has arrived').argParser(collectNumber).default([], 'none'))
  .addOption(new Option('--lost <n>', 'with --resume: mail n has not arrived').argParser(collectNumber).default([], 'none'))
  .option('-v, --reroll-count <n>', 'send it as version n', count)
  .option('--previous <series>', 'the version before, for the range-diff; default what was sent from here')
  .option('--in-reply-to <message-id>', 'the mail that the first one answers')
  .addOption(new Option('--to <address>', 'a recipient besides those that get_maintainer.pl names').argParser(collect).default([], 'none'))
  .addOption(new Option('--cc <address>', 'one to be Cc').argParser(collect).default([], 'none'))
  .addOption(new Option('--exclude <address>', 'one to be left out').argParser(collect).default([], 'none'))
  .option('--tags <mbox>', 'put the tags of these replies on the patches')
  .option('--sloppy-trailers', 'tags also of patches that have changed, and from others than they name')
  .addOption(new Option('--results <folder>', 'a run of compare; default the last ones of this series').argParser(collect).default([], 'none'))
  .option('--bundle <file>', "a reviewer's bundle to name with its checksum")
  .option('--override <reason>', 'send it although it is not ready; the mails say so')
  .option('--output <folder>', 'where the mails are written')
  .option('--json', 'print JSON')
  .action(async (name: string, options: SendOptions) => {
    const {sendCommand} = await import('./commands/send.js')
    finish(await sendCommand(context, name, options))
  })

const build = program.command('build').description('build a part of a case on its own')
withKernelOptions(build.command('livepatch'))
  .description('build the livepatch module of a case')
  .argument('<case>')
  .option('--livepatch <name>', "which of the case's livepatches; default the first")
  .option('--from-patch', "make it of a candidate's series, by the kernel tree's own klp-build (7.2)")
  .option('--candidate <name>', "with --from-patch: which of the case's candidates; default the first")
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--json', 'print JSON')
  .action(async (name: string, options: Parameters<typeof import('./commands/build.js').buildLivepatchCommand>[2]) => {
    const {buildLivepatchCommand} = await import('./commands/build.js')
    finish({text: await buildLivepatchCommand(context, name, options), exit: EXIT.ok})
  })

withBuildOptions(build.command('kernel'))
  .description('build the kernel of a case from source, as it is or with a candidate')
  .argument('<case>')
  .option('--kernel <line>', 'whose source; default 6.12')
  .option('--candidate <name>', "with this one of the case's candidates")
  .option('--per-commit', 'build each patch of the candidate in turn, and compare the warnings of W=1')
  .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
  .option('--json', 'print JSON')
  .addHelpText('after', examples('build kernel vrf-lookup', 'build kernel vrf-lookup --candidate opt-in --per-commit --idle'))
  .action(async (name: string, options: BuildKernelOptions) => {
    const {buildKernelCommand} = await import('./commands/build.js')
    finish(await buildKernelCommand(context, name, options))
  })

withAccelerator(program.command('host'))
  .description('a throw-away machine with an sshd on a loopback port; Ctrl-C ends it')
  .argument('[case]', "with this case's modules loaded")
  .option('--kernel <line|vmlinuz>', 'a stock kernel by line or an image at hand; default 6.12')
  .option('--modules <folder>', 'lib/modules/RELEASE of the image at hand')
  .option('--refresh', 'look for a newer kernel now')
  .option('--key <file>', 'a public key of yours that may log in, besides one that is made for it')
  .option('--cases <folder>', 'a folder of cases instead of patches/')
  .option('--json', 'print JSON, one line, when the host is up')
  .action(async (name: string | undefined, options: HostCommandOptions) => {
    const {hostCommand} = await import('./commands/host.js')
    process.exitCode = await hostCommand(context, name, options, (text) => void process.stdout.write(`${text}\n`))
  })

withUcode(withMachineOptions(withKernelOptions(build.command('ruleset'))))
  .description('the ruleset of a case or of a candidate, after it was loaded in a machine')
  .argument('<case>')
  .option('--candidate <name>', "of this one of the case's candidates; default base's")
  .option('--cases <folder>', 'a folder of cases instead of patches/')
  .option('--json', 'print JSON')
  .action(async (name: string, options: BuildRulesetOptions) => {
    const {buildRulesetCommand} = await import('./commands/build.js')
    finish({text: await buildRulesetCommand(context, name, options), exit: EXIT.ok})
  })

program
  .command('report')
  .description('a run again, as a page, for CI, for a mail, for upstream; or what changed between two runs')
  .argument('[run...]', 'the folder that compare left, or the name of a run below the default folder; default the last')
  .option('--html', 'one page with drawings and evidence, without scripts or network')
  .option('--junit', 'JUnit XML')
  .option('--ktap', 'KTAP')
  .option('--markdown', 'Markdown for a mail or a pull request')
  .option('--json', 'print JSON')
  .option('--compare', 'what changed from one run to another, cell by cell and test by test; exit code 1 if anything did')
  .addOption(new Option('--bug <upstream>', 'the report of the bug for upstream').choices(['openwrt', 'netfilter']))
  .option('--case <name>', 'with --bug: which case of the run')
  .option('--symptom <name>', 'with --bug: what the listings are about; default the first that shows')
  .option('--router <archive>', "with --bug: what 'router collect' gathered, to go with it")
  .option('--output <file>', 'a new file for it, instead of standard output')
  .action(async (names: string[], options: ReportOptions) => {
    const {reportCommand} = await import('./commands/report.js')
    finish(await reportCommand(names, options, process.stdout.isTTY && !process.env.NO_COLOR))
  })

const router = program.command('router').description('a router with firewall4: gather for a report, guard its flow offloading, take the guard back')
withHostOptions(router.command('collect'))
  .description('gather what a report about flow offloading needs into one archive; secrets are masked')
  .option('--output <file>', 'the archive; default router-HOST-DATE.tar.gz here')
  .option('--capture <seconds>', 'how long packets are captured; 0 for not at all', seconds, 5)
  .option('--interface <list>', 'where packets are captured; default the devices of flowtables and bridges', names)
  .option('--mask-addresses', 'give public addresses other names as well')
  .action(async (options: CollectCommandOptions) => {
    const {collectCommand} = await import('./commands/router.js')
    finish(await collectCommand(context, options))
  })
withHostOptions(router.command('mitigate'))
  .description("keep flows that are routed by a mark out of firewall4's flowtable")
  .option('--mask <bits>', 'the bits of the mark that choose a route; default all', mask)
  .option('--dry-run', 'show the change and make none')
  .action(async (options: MitigateCommandOptions) => {
    const {mitigateCommand} = await import('./commands/router.js')
    finish(await mitigateCommand(context, options, (text) => void process.stdout.write(`${text}\n`)))
  })
withHostOptions(router.command('rollback'))
  .description('take the guard back')
  .option('--dry-run', 'show the change and make none')
  .action(async (options: MitigateCommandOptions) => {
    const {rollbackCommand} = await import('./commands/router.js')
    finish(await rollbackCommand(context, options, (text) => void process.stdout.write(`${text}\n`)))
  })

const cache = program.command('cache').description('what is kept so that it need not be made again')
cache
  .command('show', {isDefault: true})
  .description('how much of the disk it takes, and when it was last of use')
  .option('--json', 'print JSON')
  .action(async (options: {json?: boolean}) => {
    const {cacheCommand} = await import('./commands/cache.js')
    finish(await cacheCommand(context, options))
  })
cache
  .command('clean')
  .description('delete what was of no use for some time; it is made again when it is wanted')
  .option('--unused <days>', 'for how long', days, 7)
  .option('--kind <kind>', 'only this kind, as the table names it')
  .option('--dry-run', 'say what would go, and delete nothing')
  .option('--json', 'print JSON')
  .action(async (options: CleanOptions) => {
    const {cleanCommand} = await import('./commands/cache.js')
    finish(await cleanCommand(context, options))
  })

program
  .command('bundle')
  .description('all that somebody else needs to repeat a run, in one file')
  .argument('[run]', 'the folder that compare left, or its name in the folder of runs; default the last run')
  .option('--output <file>', 'where it goes; default CASE.tar.zst in the working folder')
  .option('--sign', "sign it with git's user.signingkey, by SSH or OpenPGP as gpg.format says")
  .option('--json', 'print JSON')
  .action(async (run: string | undefined, options: BundleOptions) => {
    const {bundleCommand} = await import('./commands/bundle.js')
    finish(await bundleCommand(context, run, options))
  })

withMachineOptions(program.command('reproduce'))
  .description("repeat a bundle's run here, and say where the results part")
  .argument('<file|url>', 'a bundle, or the folder where one was unpacked')
  .option('--quick', 'only livepatches on packaged kernels: no kernel is built')
  .option('--verify <keys>', 'refuse a bundle that none of these signed: a file of allowed signers (SSH) or of OpenPGP public keys')
  .option('--trust', 'build without a sandbox, with your files in reach of what the bundle builds')
  .option('--kernel <vmlinuz>', 'an image at hand, for a bundle that was made with one')
  .option('--modules <folder>', 'lib/modules/RELEASE of the image at hand')
  .option('--headers <folder>', 'build folder of the image at hand, for livepatches')
  .option('--source <where>', "a git folder, a git URL or a tarball: firewall4, for a case about that; else what to build from, where the author's is not the distribution's")
  .option('--base <rev>', "the revision of --source; default the author's for firewall4, else what is checked out")
  .option('--ucode <path>', 'the program that runs firewall4, for cases about that; default the one on PATH')
  .option('--trace', 'record the probes of cases here too; nothing is compared by them')
  .option('--idle', 'build when nobody else wants the processor')
  .option('--refresh', 'look for newer kernels and sources now')
  .option('--jobs <n>', 'machines side by side; default the cores', count)
  .option('--output <folder>', 'where our run leaves its evidence')
  .option('--json', 'print JSON')
  .action(async (where: string, options: ReproduceOptions) => {
    const {reproduceCommand} = await import('./commands/reproduce.js')
    finish(await reproduceCommand(context, where, options, commandLine()))
  })

const livepatch = program.command('livepatch').description("a case's livepatch on hosts: whether it may be loaded, load it, watch it, take it back")
withModuleOptions(withLivepatchOptions(livepatch.command('preflight')))
  .description('whether the livepatch may be loaded; nothing is changed')
  .argument('<case>')
  .action(async (name: string, options: PreflightOptions) => {
    const {preflightCommand} = await import('./commands/livepatch.js')
    finish(await preflightCommand(context, name, options))
  })
withModuleOptions(withLivepatchOptions(livepatch.command('load')))
  .description('build the livepatch for the kernel of the host, and load it; on several hosts one by one, up to the first failure')
  .argument('<case>')
  .option('--verify', 'look at it afterwards, over a new connection and with its probe; what is not right is taken back')
  .option('--revert-after <time>', "have the host take it back after this time (90s, 10m), unless --verify passes or 'livepatch keep' is run", time)
  .option('--deadline <time>', 'how long the transition may take', time, 30)
  .option('--force-transition', 'end a transition that stalls by force: dangerous, and the module can never be removed; default is to reverse it')
  .option('--persist', 'load it at every boot of this kernel as well, until it is unloaded')
  .option('--no-persist', 'do so no longer')
  .action(async (name: string, options: LoadOptions) => {
    const {loadCommand} = await import('./commands/livepatch.js')
    finish(await loadCommand(context, name, options))
  })
withLivepatchOptions(livepatch.command('status'))
  .description('what is loaded, by whomever; exit code 1 where the livepatch of the case is not')
  .argument('[case]')
  .action(async (name: string | undefined, options: Parameters<typeof import('./commands/livepatch.js').statusCommand>[2]) => {
    const {statusCommand} = await import('./commands/livepatch.js')
    finish(await statusCommand(context, name, options))
  })
withLivepatchOptions(livepatch.command('keep'))
  .description('a livepatch that is on trial stays')
  .argument('<case>')
  .action(async (name: string, options: Parameters<typeof import('./commands/livepatch.js').keepCommand>[2]) => {
    const {keepCommand} = await import('./commands/livepatch.js')
    finish(await keepCommand(context, name, options))
  })
withLivepatchOptions(livepatch.command('unload'))
  .description('take the livepatch back')
  .argument('<case>')
  .option('--deadline <time>', 'how long the transition may take', time, 30)
  .action(async (name: string, options: Parameters<typeof import('./commands/livepatch.js').unloadCommand>[2]) => {
    const {unloadCommand} = await import('./commands/livepatch.js')
    finish(await unloadCommand(context, name, options))
  })

program
  .command('completion')
  .description('completion for a shell: source <(patchbench completion bash)')
  .addArgument(new Argument('<shell>').choices(SHELLS))
  .action(async (shell: (typeof SHELLS)[number]) => {
    const {definitionOf} = await import('./commands/definition.js')
    finish({text: completionScript(definitionOf(program), shell), exit: EXIT.ok})
  })

program
  .command('man')
  .description('the manual page: patchbench man | man -l -')
  .action(async () => {
    const {definitionOf} = await import('./commands/definition.js')
    const {manPage} = await import('./commands/man.js')
    finish({text: manPage(definitionOf(program), version), exit: EXIT.ok})
  })

let context: Context

await main()

async function main(): Promise<void> {
  try {
    context = {
      signal: interruption.signal,
      cache: cacheDirectory(),
      progress: (text) => void process.stderr.write(`${printable(text)}\n`),
    }
    await program.parseAsync()
  } catch (error) {
    process.exitCode = report(error)
  }
}

/** The only place that prints an error; a bug of ours is the only one with a stack. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.input
  if (error instanceof Interrupted || interruption.signal.aborted) return say('interrupted', EXIT.interrupted)
  if (error instanceof InputError) return say(error.message, EXIT.input)
  if (error instanceof CouldNotRun) return say([error.message, error.detail].filter(Boolean).join('\n'), EXIT.couldNotRun)
  const system = describeSystemError(error)
  if (system) return say(system, systemCode(error) === 'ENOSPC' ? EXIT.couldNotRun : EXIT.input)
  return say(`a bug in patchbench, please report it: ${error instanceof Error ? error.stack : String(error)}`, EXIT.couldNotRun)
}

function say(text: string, exit: number): number {
  process.stderr.write(`patchbench: ${printable(text)}\n`)
  return exit
}

function finish({text, exit, complaints = []}: {text: string; exit: number; complaints?: readonly string[]}): void {
  if (text !== '') process.stdout.write(`${text}\n`)
  for (const complaint of complaints) say(complaint, exit)
  process.exitCode = exit
}

function withKernelOptions(command: Command): Command {
  return withBuildOptions(withStockOptions(command))
}

function withStockOptions(command: Command): Command {
  return command
    .option('--kernel <line|vmlinuz>', 'stock kernels by line (6.12, or 6.12,6.1 where several can be) or an image at hand; default 6.12')
    .option('--modules <folder>', 'lib/modules/RELEASE of the image at hand')
    .option('--headers <folder>', 'build folder of the image at hand, for livepatches')
    .option('--built', 'run base and livepatches on kernels built from source as well')
}

function withBuildOptions(command: Command): Command {
  return command
    .option('--source <where>', "a git folder, a git URL or a tarball to build from, instead of the distribution's source")
    .option('--base <rev>', 'the revision of --source; default what is checked out')
    .option('--debug <list>', `build with ${DEBUG_SETS.join(', ')}`, debugSets)
    .option('--idle', 'build when nobody else wants the processor')
    .option('--refresh', 'look for newer kernels and sources now')
}

/** Of verbs that boot a machine. */
function withMachineOptions(command: Command): Command {
  return withAccelerator(command.option('--root <tar>', "a guest root of your own instead of mmdebstrap's"))
}

function withAccelerator(command: Command): Command {
  return command.addOption(new Option('--accel <accelerator>', 'how machines run').choices(['auto', 'kvm', 'tcg']).default('auto'))
}

/** For cases of the tree firewall4, where --source names one. */
function withUcode(command: Command): Command {
  return command.option('--ucode <path>', 'the program ucode, which runs firewall4; default that on PATH')
}

function withHostOptions(command: Command): Command {
  return command
    .requiredOption('--host <host>', 'as for ssh: root@router, or an alias of your ssh_config')
    .option('--ssh-config <file>', 'an ssh_config of your own choice')
    .option('--json', 'print JSON')
}

/** Of verbs that are about a case's livepatch on hosts. */
function withLivepatchOptions(command: Command): Command {
  return command
    .requiredOption('--host <list>', 'as for ssh: root@lab1, or an alias of your ssh_config; or a group of the hosts file', names)
    .option('--hosts <file>', 'a hosts file; default ~/.config/patchbench/hosts.yaml')
    .option('--ssh-config <file>', 'an ssh_config of your own choice')
    .option('--livepatch <name>', "which of the case's livepatches; default the first")
    .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
    .option('--json', 'print JSON')
}

/** Of those that build it for the host's kernel, and try it on that in a machine here. */
function withModuleOptions(command: Command): Command {
  return withMachineOptions(command)
    .option('--kernel <vmlinuz>', "the image that the host runs, where the distribution has it not; with --modules and --headers")
    .option('--modules <folder>', 'lib/modules/RELEASE of that image')
    .option('--headers <folder>', "build folder of that image; 'host': the headers that are installed on the host, whose Makefiles then run here")
    .addOption(new Option('--build-on <where>', 'whose make, gcc and headers build it; nothing of that stays on the host').choices(['here', 'host']).default('here'))
    .option('--sign [key,certificate]', "sign the module; a key's file or PKCS#11 URI, and its certificate; default the machine owner key of dkms")
    .option('--force-unverified', 'whatever it is worth on this kernel in a machine here; it is not tried where that is not known')
}

/** Of verbs that are about one series on one source. */
function withSourceOptions(command: Command): Command {
  return command
    .option('--candidate <name>', "which of the case's candidates; default the first")
    .option('--kernel <line>', 'its series for this line; default 6.12')
    .option('--source <where>', "a git folder, a git URL or a tarball that it is for, instead of the distribution's source of the line")
    .option('--base <rev>', 'the revision of --source; default the one that the series states, or what is checked out')
    .option('--refresh', 'look for newer sources now')
    .option('--cases <folder>', 'a folder of cases; default what patchbench.yaml names, else patches/')
}

function commandLine(): string {
  return shellWords(['patchbench', ...process.argv.slice(2)])
}

function examples(...commands: string[]): string {
  return ['', 'Examples:', ...commands.map((command) => `  patchbench ${command}`)].join('\n')
}

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 1000) throw new InvalidArgumentError('a whole number from 1 to 1000 is needed.')
  return value
}

function seconds(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > 600) throw new InvalidArgumentError('a whole number from 0 to 600 is needed.')
  return value
}

function days(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > 3650) throw new InvalidArgumentError('a whole number of days is needed.')
  return value
}

/** A time in s. */
function time(text: string): number {
  const [, number, unit = 's'] = /^(\d{1,5})([smh])?$/.exec(text) ?? []
  const value = Number(number) * {s: 1, m: 60, h: 3600}[unit as 's' | 'm' | 'h']
  if (!(value >= 1 && value <= 86_400)) throw new InvalidArgumentError('a time from 1s to 24h is needed, like 90s or 10m.')
  return value
}

/** Bits of a packet's mark, which has 32. */
function mask(text: string): number {
  const value = Number(text)
  if (!/^(0x[\da-f]+|\d+)$/i.test(text) || value < 1 || value > 0xffffffff) throw new InvalidArgumentError('bits from 0x1 to 0xffffffff are needed.')
  return value
}

function variants(text: string): string[] {
  const list = text.split(',')
  const unknown = list.find((one) => !VARIANTS.includes(one))
  if (unknown !== undefined) throw new InvalidArgumentError(`'${unknown}' is none of ${VARIANTS.join(', ')}.`)
  return list
}

/** Of an option that may be given again, and takes several names between commas. */
function names(text: string, before: string[] = []): string[] {
  return [...before, ...text.split(',')]
}

function debugSets(text: string): string[] {
  const list = text.split(',')
  const unknown = list.find((one) => !DEBUG_SETS.some((set) => set === one))
  if (unknown !== undefined) throw new InvalidArgumentError(`'${unknown}' is none of ${DEBUG_SETS.join(', ')}.`)
  return list
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}

function collectNumber(value: string, before: number[]): number[] {
  const number = Number(value)
  if (!/^\d{1,4}$/.test(value)) throw new InvalidArgumentError('the number of a mail is needed.')
  return [...before, number]
}
