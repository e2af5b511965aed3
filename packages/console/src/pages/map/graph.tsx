/** The map itself. What it is made of stays; nodes and edges look at the pulse each for themselves. */
import { Controls, ReactFlow, ReactFlowProvider, type Viewport } from "@xyflow/react";
import { useCallback, useEffect, useMemo, useRef } from "react";
import { useLocation, useSearchParams } from "wouter";
import type { LineageView } from "../../../../../src/serve/lineage-route.ts";
import type { ProjectMap } from "../../../../../src/serve/map-route.ts";
import { goOn, hold } from "../../live.ts";
import { columnOf, nodePath } from "../../places.ts";
import { useLineage } from "./column-lineage.tsx";
import { Detail } from "./detail.tsx";
import { Edges } from "./edges.tsx";
import { NODE_HEIGHT, NODE_WIDTH, placesOf } from "./layout.ts";
import { Thing, type ThingNode } from "./thing.tsx";
import "@xyflow/react/dist/base.css";
import "./map.css";

const NODE_TYPES = { thing: Thing };
const NOWHERE = { x: 0, y: 0 };
const FIT = { maxZoom: 1, padding: 0.08 };
const CREDIT = { hideAttribution: true };
/** Below it what is written cannot be read, and is not drawn. */
const FAR = 0.35;

export default function Graph({ map }: { map: ProjectMap }) {
  const [parameters, setParameters] = useSearchParams();
  const [, go] = useLocation();
  const column = columnOf(parameters.get("column"));
  const lineage = useLineage(column?.table, column?.column).value;
  const focus = lineage?.columns[0]?.node ?? parameters.get("focus") ?? undefined;
  const close = useCallback(() => setParameters({}), [setParameters]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") close();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [close]);
  const places = useMemo(() => placesOf(map), [map]);
  const path = useMemo(() => (lineage === undefined ? undefined : pathOf(lineage)), [lineage]);
  const near = useMemo(() => path?.nodes ?? (focus === undefined ? undefined : around(map, focus)), [map, focus, path]);
  const nodes = useMemo<ThingNode[]>(
    () =>
      map.nodes.map((thing) => ({
        id: thing.id,
        type: "thing",
        position: places.get(thing.id) ?? NOWHERE,
        // Where it stands without a transform of its own: hundreds of those are what costs a browser most when all of it moves.
        style: { transform: "none", left: places.get(thing.id)?.x ?? 0, top: places.get(thing.id)?.y ?? 0 },
        // Known beforehand, so that nothing is measured.
        width: NODE_WIDTH,
        height: NODE_HEIGHT,
        data: {
          thing,
          dimmed: near !== undefined && !near.has(thing.id),
          columns: path?.columns.get(thing.id)?.join(", ") ?? "",
        },
        ariaLabel: `${thing.kind} ${thing.name}`,
      })),
    [map, places, near, path],
  );
  const canvas = useRef<HTMLDivElement>(null);
  // Set past React: it is another zoom with every frame, and another look seldom.
  const onMove = useCallback((_: unknown, { zoom }: Viewport) => {
    canvas.current?.classList.toggle("far", zoom < FAR);
  }, []);
  const onMoveStart = useCallback(() => {
    hold();
    canvas.current?.classList.add("moving");
  }, []);
  const onMoveEnd = useCallback(() => {
    goOn();
    canvas.current?.classList.remove("moving");
  }, []);
  useEffect(() => goOn, []);
  const focused = map.nodes.find(({ id }) => id === focus);
  return (
    <ReactFlowProvider>
      <div className="canvas" ref={canvas}>
        <ReactFlow
          {...{ nodes, nodeTypes: NODE_TYPES, proOptions: CREDIT }}
          fitView
          fitViewOptions={FIT}
          minZoom={0.08}
          maxZoom={1.6}
          nodesDraggable={false}
          onlyRenderVisibleElements
          nodesConnectable={false}
          onNodeClick={(_, node) => setParameters({ focus: node.id })}
          onNodeDoubleClick={(_, node) => go(nodePath(node.id))}
          onPaneClick={close}
          onMoveStart={onMoveStart}
          onMoveEnd={onMoveEnd}
          onMove={onMove}
        >
          <Edges edges={map.edges} places={places} lit={path?.edges} />
          <Controls showInteractive={false} />
        </ReactFlow>
        {focused !== undefined && <Detail thing={focused} column={column} close={close} />}
      </div>
    </ReactFlowProvider>
  );
}

interface Path {
  readonly nodes: ReadonlySet<string>;
  /** `from to` of the map's nodes. */
  readonly edges: ReadonlySet<string>;
  /** By node, those of its columns that are on the path. */
  readonly columns: ReadonlyMap<string, readonly string[]>;
}

function pathOf({ columns, edges }: LineageView): Path {
  const nodeOf = new Map(columns.map(({ table, column, node }) => [`${table} ${column}`, node]));
  const ends = edges.map(({ from, to }) =>
    [from, to].map(({ table, column }) => nodeOf.get(`${table} ${column}`)).join(" "),
  );
  const byNode = Map.groupBy(columns, ({ node }) => node);
  return {
    nodes: new Set(byNode.keys()),
    edges: new Set(ends),
    columns: new Map([...byNode].map(([node, own]) => [node, own.map(({ column }) => column)])),
  };
}

/** What reaches a node, and what it reaches. */
function around({ edges }: ProjectMap, id: string): ReadonlySet<string> {
  const found = new Set([id]);
  for (const [end, other] of [
    ["to", "from"],
    ["from", "to"],
  ] as const) {
    const waiting = [id];
    const seen = new Set(waiting);
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      for (const edge of edges) {
        if (edge[end] !== at || seen.has(edge[other])) continue;
        seen.add(edge[other]);
        found.add(edge[other]);
        waiting.push(edge[other]);
      }
    }
  }
  return found;
}
