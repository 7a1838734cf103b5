import {hierarchy, partition} from 'd3-hierarchy'

/** Folded stacks as an icicle: callers on top, their width how often. Lengths in px. */
export type Stacks = {width: number; height: number; title: string; frames: {x: number; y: number; width: number; label: string; name: string; count: number; probed: boolean}[]}

/** A way to a probe, as a traced session counted it. */
export type Folded = {frames: readonly string[]; count: number}

type Node = {name: string; own: number; children: Map<string, Node>}

const WIDTH = 760
const ROW = 20
const CHARACTER = 6.4
/** How deep the drawing goes: the innermost frames are what tells. */
const DEEPEST = 24

/** Lays the stacks of a probe out; undefined where there are none. */
export function stacksOf(probe: string, stacks: readonly Folded[]): Stacks | undefined {
  if (stacks.length === 0) return undefined
  const root: Node = {name: '', own: 0, children: new Map()}
  for (const {frames, count} of stacks) add(root, frames.slice(-DEEPEST), count)
  const tree = hierarchy(root, ({children}) => [...children.values()])
    .sum(({own}) => own)
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0))
  const laid = partition<Node>().size([WIDTH, (tree.height + 1) * ROW])(tree)
  const frames = laid.descendants().filter(({depth}) => depth > 0)
  return {
    ...{width: WIDTH, height: tree.height * ROW + 2},
    title: `the ways to ${probe}: ${tree.value ?? 0} hits`,
    frames: frames.map(({x0, x1, depth, data, value = 0}) => {
      const width = Math.round((x1 - x0) * 10) / 10
      const room = Math.floor((width - 6) / CHARACTER)
      const label = room < 3 ? '' : data.name.length > room ? `${data.name.slice(0, room - 1)}…` : data.name
      return {x: Math.round(x0 * 10) / 10, y: (depth - 1) * ROW, width, label, name: data.name, count: value, probed: data.children.size === 0}
    }),
  }
}

function add(node: Node, [name, ...rest]: readonly string[], count: number): void {
  if (name === undefined) {
    node.own += count
    return
  }
  const child = node.children.get(name) ?? {name, own: 0, children: new Map()}
  node.children.set(name, child)
  add(child, rest, count)
}
