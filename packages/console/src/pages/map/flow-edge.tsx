/** An edge that shows whether something goes along it; drawn again when that changes. */
import { BaseEdge, type Edge, type EdgeProps, getBezierPath } from "@xyflow/react";
import { memo } from "react";
import type { MapEdge } from "../../../../../src/serve/map-route.ts";
import { useFlows } from "../../live.ts";

/** `pulses`: moving dashes, for maps that are not too large for them. */
export type FlowEdge = Edge<{ kind: MapEdge["kind"]; pulses: boolean; lit: boolean; dimmed: boolean }, "flow">;

export const Flow = memo(function Flow(props: EdgeProps<FlowEdge>) {
  const { id, source, target, data } = props;
  const flows = useFlows(source, target) && data?.kind !== "lookup";
  const [path] = getBezierPath(props);
  const className = [
    ...["flow", data?.kind ?? ""],
    ...(flows ? ["flowing"] : []),
    ...(flows && data?.pulses ? ["pulsing"] : []),
    ...(data?.lit ? ["lit"] : []),
    ...(data?.dimmed ? ["dimmed"] : []),
  ].join(" ");
  return <BaseEdge id={id} path={path} className={className} interactionWidth={0} />;
});
