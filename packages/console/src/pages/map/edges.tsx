/**
 * All edges, in one picture below the nodes: one for each would cost a large map its smoothness. Each is drawn again by itself when it begins or ceases
 * to have something going along it.
 */
import { ViewportPortal } from "@xyflow/react";
import { memo } from "react";
import type { MapEdge } from "../../../../../src/serve/map-route.ts";
import { useFlows } from "../../live.ts";
import { NODE_HEIGHT, NODE_WIDTH, type Place } from "./layout.ts";

interface EdgesProps {
  readonly edges: readonly MapEdge[];
  readonly places: ReadonlyMap<string, Place>;
  /** `from to` of those on the path of a column; undefined while there is none. */
  readonly lit: ReadonlySet<string> | undefined;
}

/** Above it moving dashes cost more than they tell. */
const MOST_PULSING = 120;

export const Edges = memo(function Edges({ edges, places, lit }: EdgesProps) {
  return (
    <ViewportPortal>
      <svg className="edges" aria-hidden="true">
        {edges.map(({ from, to, kind }) => {
          const [start, end] = [places.get(from), places.get(to)];
          if (start === undefined || end === undefined) return null;
          const look = lit === undefined ? "" : lit.has(`${from} ${to}`) ? "lit" : "dimmed";
          const path = pathOf(start, end);
          return (
            <Flow
              key={`${from} ${to} ${kind}`}
              {...{ from, to, kind, look, path }}
              pulses={edges.length <= MOST_PULSING}
            />
          );
        })}
      </svg>
    </ViewportPortal>
  );
});

interface FlowProps extends MapEdge {
  readonly look: string;
  readonly path: string;
  readonly pulses: boolean;
}

const Flow = memo(function Flow({ from, to, kind, look, path, pulses }: FlowProps) {
  const flows = useFlows(from, to) && kind !== "lookup";
  return <path d={path} className={`edge ${kind} ${look} ${flows ? (pulses ? "flowing pulsing" : "flowing") : ""}`} />;
});

/** From the right of one to the left of the other, leaving and arriving level. */
function pathOf(start: Place, end: Place): string {
  const [x1, y1] = [start.x + NODE_WIDTH, start.y + NODE_HEIGHT / 2];
  const [x2, y2] = [end.x, end.y + NODE_HEIGHT / 2];
  const bend = x2 >= x1 ? (x2 - x1) / 2 : 60 + (x1 - x2) / 4;
  return `M${x1},${y1}C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
}
