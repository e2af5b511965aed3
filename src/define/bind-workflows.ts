import { didYouMean } from "./nearest.ts";
import { type Problem, problem } from "./problem.ts";
import type { Workflow } from "./read-workflow.ts";

/**
 * What is wrong between workflows and what they are triggered by: names of tables and workflows that do not exist, and workflows that start
 * each other in a circle. `broken` names workflows that did not read, so that naming one is no further mistake.
 */
export function workflowProblems(
  workflows: ReadonlyMap<string, Workflow>,
  tables: Iterable<string>,
  broken: ReadonlySet<string>,
): { readonly workflow: Workflow; readonly problem: Problem }[] {
  const found: { workflow: Workflow; problem: Problem }[] = [];
  const known = new Set(tables);
  for (const workflow of workflows.values()) {
    const unknown = (what: string, name: string, candidates: Iterable<string>) => {
      const subject = `workflow "${workflow.name}"`;
      const nearest = didYouMean(name, candidates);
      found.push({ workflow, problem: problem("TRIGGER_UNKNOWN", { subject, what, name, nearest }) });
    };
    for (const trigger of workflow.triggers) {
      if ("table" in trigger && !known.has(trigger.table)) unknown("the table", trigger.table, known);
      if ("workflow" in trigger && !workflows.has(trigger.workflow) && !broken.has(trigger.workflow))
        unknown("the workflow", trigger.workflow, workflows.keys());
    }
  }
  for (const circle of circles(workflows)) {
    const path = [...circle, circle[0]].map((name) => `"${name}"`).join(" -> ");
    found.push({ workflow: workflows.get(circle[0]!)!, problem: problem("WORKFLOW_CYCLE", { path }) });
  }
  return found;
}

/** Each circle once, beginning with the first of its names. */
function circles(workflows: ReadonlyMap<string, Workflow>): string[][] {
  const starts = new Map<string, string[]>();
  for (const { name, triggers } of workflows.values())
    for (const trigger of triggers)
      if ("workflow" in trigger) starts.set(trigger.workflow, [...(starts.get(trigger.workflow) ?? []), name]);
  const found = new Map<string, string[]>();
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]) => {
    const at = path.indexOf(name);
    if (at >= 0) {
      const circle = path.slice(at);
      const first = circle.indexOf([...circle].sort()[0]!);
      const turned = [...circle.slice(first), ...circle.slice(0, first)];
      found.set(turned.join(), turned);
      return;
    }
    if (done.has(name)) return;
    for (const next of starts.get(name) ?? []) visit(next, [...path, name]);
    done.add(name);
  };
  for (const name of workflows.keys()) visit(name, []);
  return [...found.values()];
}
