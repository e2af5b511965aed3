/**
 * Which step follows which, as far as the steps of a run say so: their keys have the branches they are in (`load/a/fetch`, `files[3]/read`), and steps that were under way at the
 * same time are beside each other.
 */
import type { StepView } from "../../api.ts";

export interface StepEdge {
  readonly from: string;
  readonly to: string;
}

type Item = { readonly step: StepView } | { readonly group: string; readonly branches: Map<string, Item[]> };

/** `steps` in the order in which they began. */
export function edgesOf(steps: readonly StepView[]): readonly StepEdge[] {
  const edges: StepEdge[] = [];
  follow(treeOf(steps), [], edges);
  return edges;
}

function treeOf(steps: readonly StepView[]): Item[] {
  const root: Item[] = [];
  for (const step of steps) {
    let items = root;
    for (const [group, branch] of branchesOf(step.step)) {
      let found = items.find((item) => "group" in item && item.group === group);
      if (found === undefined) {
        found = { group, branches: new Map() };
        items.push(found);
      }
      const { branches } = found as { branches: Map<string, Item[]> };
      const inner = branches.get(branch) ?? [];
      branches.set(branch, inner);
      items = inner;
    }
    items.push({ step });
  }
  return root;
}

/** The branches around a step, outermost first. */
function branchesOf(key: string): [string, string][] {
  const parts = key.split("/").slice(0, -1);
  const found: [string, string][] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as string;
    const item = /^(.*)\[(\d+)\]$/.exec(part);
    if (item !== null) found.push([item[1] as string, item[2] as string]);
    else found.push([part, parts[++i] ?? ""]);
  }
  return found;
}

/** Draws what is in a sequence behind what was before it, and gives what the next is behind. */
function follow(items: readonly Item[], before: readonly string[], edges: StepEdge[]): readonly string[] {
  let behind = before;
  let beside: StepView[] = [];
  for (const item of items) {
    if ("group" in item) {
      const from = beside.length > 0 ? beside.map(({ step }) => step) : behind;
      behind = [...item.branches.values()].flatMap((branch) => follow(branch, from, edges));
      beside = [];
      continue;
    }
    const { step } = item;
    const atOnce = beside.length > 0 && beside.every((other) => endOf(other) > Date.parse(step.startedAt));
    if (!atOnce && beside.length > 0) behind = beside.map((other) => other.step);
    beside = atOnce ? [...beside, step] : [step];
    for (const from of behind) edges.push({ from, to: step.step });
  }
  return beside.length > 0 ? beside.map(({ step }) => step) : behind;
}

function endOf({ finishedAt }: StepView): number {
  return finishedAt === null ? Number.POSITIVE_INFINITY : Date.parse(finishedAt);
}

/** A key as it is read: without what it only has so that names may be anything. */
export function labelOf(key: string): string {
  return key
    .split("/")
    .map((part) => part.replace(/%([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16))))
    .join(" › ");
}
