/** The sets of kconfigs/debug/ that --debug adds to a built kernel. */
export const DEBUG_SETS = ['kasan', 'lockdep', 'kmemleak'] as const
export type DebugSet = (typeof DEBUG_SETS)[number]
