/** One node of the map. It is drawn again when what it shows has changed, and not with every pulse. */
import type { Node, NodeProps } from "@xyflow/react";
import { memo } from "react";
import type { MapNode, NodeKind } from "../../../../../src/serve/map-route.ts";
import { compact, count, rate } from "../../format.ts";
import { type NodeState, useNode } from "../../live.ts";
import { useAgo } from "../../now.ts";
import { icons } from "../../ui/icons.tsx";
import { HealthMark } from "../../ui/ui.tsx";

/** `columns`: those of it that are on the path of the chosen column. */
export type ThingNode = Node<{ thing: MapNode; dimmed: boolean; columns: string }, "thing">;

const ICONS: Readonly<Record<NodeKind, () => React.JSX.Element>> = {
  ...{ stream: icons.stream, table: icons.table, function: icons.function, window: icons.window },
  ...{ feature: icons.feature, alert: icons.alerts, workflow: icons.workflow },
  ...{ destination: icons.destination, server: icons.server },
};

export const Thing = memo(function Thing({ data: { thing, dimmed, columns } }: NodeProps<ThingNode>) {
  const { pulse, rate: perSecond } = useNode(thing.id);
  const fresh = useAgo(pulse?.freshAtMs);
  const Icon = ICONS[thing.kind];
  const health = pulse?.health ?? "idle";
  const refused = Math.max(pulse?.rejected ?? 0, pulse?.deadLettered ?? 0);
  return (
    <div className={`thing ${health} ${dimmed ? "dimmed" : ""}`}>
      <Icon />
      <span className="name" title={thing.name}>
        {thing.name}
      </span>
      <HealthMark health={health} />
      {columns === "" ? (
        <span className="facts-line">
          {perSecond > 0 && <span className="rate">{rate(perSecond)}</span>}
          <span className="what">{lineOf(thing, pulse, fresh)}</span>
          {refused > 0 && <span className="trouble">{compact(refused)} refused</span>}
        </span>
      ) : (
        <span className="facts-line">
          <span className="what columns" title={columns}>
            {columns}
          </span>
        </span>
      )}
    </div>
  );
});

const COUNTED: Readonly<Partial<Record<NodeKind, string>>> = {
  ...{ table: "rows", stream: "events", window: "results", function: "handled", destination: "delivered" },
};

function lineOf(thing: MapNode, pulse: NodeState["pulse"], fresh: string): string {
  if (pulse === undefined) return thing.detail;
  if (thing.kind === "alert") return pulse.count === 0 ? "quiet" : `${count(pulse.count)} firing`;
  return `${compact(pulse.count)} ${COUNTED[thing.kind] ?? ""}${fresh === "" ? "" : ` · ${fresh}`}`;
}
