/** Windows as the reactor runs them. */
import type { Project } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { OperatorPlan } from "../react/operator.ts";

/**
 * A lane of its own for each window, from the first event that the log has.
 *
 * @throws REACT_KEY when the log has several partitions of the stream, and the window's key is not in one of them.
 */
export function windowPlans(
  { windows, streams }: Pick<Project, "windows" | "streams">,
  partitions: (stream: string) => number,
): readonly OperatorPlan[] {
  return [...windows.values()].map(({ name, stream, plan, stateHash }) => {
    const keys = plan.keys.map((key) => key.name);
    const streamKey = streams.get(stream)?.key;
    if (partitions(stream) > 1 && (streamKey === undefined || !keys.includes(streamKey))) {
      throw new MillraceError("REACT_KEY", {
        ...{ subject: `window "${name}"`, key: keys.join(", ") || "nothing", stream },
        streamKey: streamKey === undefined ? "no key" : `the key "${streamKey}"`,
      });
    }
    return { kind: "window", name, stream, lane: `window-${name}`, from: "beginning", stateHash, plan };
  });
}
