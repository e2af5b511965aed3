/** Windows as the reactor runs them. */
import type { Project } from "../define/project.ts";
import { keyFault } from "../define/read-window.ts";
import type { OperatorPlan } from "../react/operator.ts";

/**
 * A lane of its own for each window, from the first event that the log has.
 *
 * @throws REACT_KEY, or OPTION_MISSING for one without a key, when the log has several partitions of the stream, and the window's key is not in one of them.
 */
export function windowPlans(
  { windows, streams }: Pick<Project, "windows" | "streams">,
  partitions: (stream: string) => number,
): readonly OperatorPlan[] {
  return [...windows.values()].map(({ name, stream, plan, stateHash }) => {
    const keys = plan.keys.map((key) => key.name);
    const fault = partitions(stream) > 1 ? keyFault(`window "${name}"`, keys, streams.get(stream)!) : undefined;
    if (fault !== undefined) throw fault;
    return { kind: "window", name, stream, lane: `window-${name}`, from: "beginning", stateHash, plan };
  });
}
