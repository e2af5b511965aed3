/** Everything there is, left to right, as it runs. */
import {
  Background,
  Controls,
  type Edge,
  Handle,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
  ReactFlowProvider,
} from "@xyflow/react";
import { memo, useEffect, useMemo } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import type { MapNode, NodeKind, ProjectMap } from "../../../../../src/serve/map-route.ts";
import { api } from "../../api.ts";
import { FIRST_STREAM } from "../../first-definitions.ts";
import { ago, bytes, compact, count, duration, rate } from "../../format.ts";
import { type Beat, useLive, useNode } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { nodePath } from "../../places.ts";
import { icons } from "../../ui/icons.tsx";
import { Badge, Empty, Facts, Failure, HealthMark, Loading, Snippet, Spark } from "../../ui/ui.tsx";
import { placesOf } from "./layout.ts";
import "@xyflow/react/dist/base.css";
import "./map.css";

type ThingNode = Node<{ thing: MapNode; dimmed: boolean }, "thing">;

const NODE_TYPES = { thing: memo(Thing) };
/** Above it moving dashes cost more than they tell. */
const MOST_PULSING = 120;

export default function MapPage() {
  const { value: map, error, reload } = useLoad("map", (signal) => api.map(signal));
  const live = useLive();
  const beat = live.kind === "connecting" ? undefined : live.beat;
  return (
    <div className="map-page">
      <h1 className="visually-hidden">Map</h1>
      <Strip beat={beat} lostSinceMs={live.kind === "lost" ? live.sinceMs : undefined} />
      {error !== undefined && <Failure error={error} retry={reload} />}
      {map === undefined && error === undefined && <Loading what="the map" />}
      {map !== undefined && map.nodes.length === 0 && <FirstStep />}
      {map !== undefined && map.nodes.length > 0 && (
        <ReactFlowProvider>
          <Graph map={map} beat={beat} />
        </ReactFlowProvider>
      )}
    </div>
  );
}

/** Is anything wrong, where, since when. */
function Strip({ beat, lostSinceMs }: { beat: Beat | undefined; lostSinceMs: number | undefined }) {
  if (beat === undefined)
    return <div className="strip">{lostSinceMs === undefined ? "Connecting …" : "The platform does not answer."}</div>;
  const incoming = Object.entries(beat.rates)
    .filter(([id]) => id.startsWith("stream:"))
    .reduce((sum, [, perSecond]) => sum + perSecond, 0);
  const pending = Object.entries(beat.nodes)
    .filter(([id]) => id.startsWith("stream:"))
    .reduce((sum, [, { pending: waiting }]) => sum + waiting, 0);
  const wrong = Object.entries(beat.nodes).filter(([, { health }]) => health === "bad");
  const firing = beat.firing.critical + beat.firing.warning + beat.firing.info;
  const well =
    beat.ready && beat.balanced && wrong.length === 0 && beat.problems.length === 0 && lostSinceMs === undefined;
  return (
    <div className="strip">
      {lostSinceMs !== undefined && <Badge tone="bad">no answer since {ago(lostSinceMs)}</Badge>}
      {well ? (
        <HealthMark health="ok" label="Everything is well" />
      ) : (
        <div className="row">
          {!beat.ready && <Badge tone="bad">not ready</Badge>}
          {!beat.balanced && <Badge tone="bad">the ledger does not balance</Badge>}
          {beat.problems.map((problem) => (
            <Badge key={problem} tone="warning">
              {problem}
            </Badge>
          ))}
          {wrong.map(([id]) => (
            <Link key={id} to={`/?focus=${encodeURIComponent(id)}`} className="badge bad">
              {id.slice(id.indexOf(":") + 1)}
            </Link>
          ))}
        </div>
      )}
      <Figure name="events in" value={rate(incoming)} />
      <Figure name="not in the lake yet" value={compact(pending)} />
      <Figure name="alerts firing" value={count(firing)} />
      <Figure name="dead letters" value={count(beat.deadLetters)} />
      <Figure name="memory" value={bytes(beat.residentBytes)} />
      <Figure name="running for" value={duration(beat.atMs - beat.startedAtMs)} />
    </div>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div className="figure">
      <strong>{value}</strong>
      <span>{name}</span>
    </div>
  );
}

function Graph({ map, beat }: { map: ProjectMap; beat: Beat | undefined }) {
  const [parameters, setParameters] = useSearchParams();
  const focus = parameters.get("focus") ?? undefined;
  const [, go] = useLocation();
  const places = useMemo(() => placesOf(map), [map]);
  const near = useMemo(() => (focus === undefined ? undefined : around(map, focus)), [map, focus]);
  const nodes = useMemo<ThingNode[]>(
    () =>
      map.nodes.map((thing) => ({
        id: thing.id,
        type: "thing",
        position: places.get(thing.id) ?? { x: 0, y: 0 },
        data: { thing, dimmed: near !== undefined && !near.has(thing.id) },
        ariaLabel: `${thing.kind} ${thing.name}`,
      })),
    [map, places, near],
  );
  const moving = map.edges.filter(({ from, to, kind }) => kind !== "lookup" && flows(beat, from, to));
  const pulsing = moving.length <= MOST_PULSING;
  const movingKeys = new Set(moving.map(({ from, to, kind }) => `${from} ${to} ${kind}`));
  const edges: Edge[] = map.edges.map(({ from, to, kind }) => {
    const id = `${from} ${to} ${kind}`;
    const flowing = movingKeys.has(id);
    const className = [kind, ...(flowing ? ["flowing", ...(pulsing ? ["pulsing"] : [])] : [])].join(" ");
    return { id, source: from, target: to, className, focusable: false };
  });
  const focused = map.nodes.find(({ id }) => id === focus);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") setParameters({});
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [setParameters]);
  return (
    <div className="canvas">
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={NODE_TYPES}
        fitView
        fitViewOptions={{ maxZoom: 1, padding: 0.08 }}
        minZoom={0.08}
        maxZoom={1.6}
        nodesDraggable={false}
        nodesConnectable={false}
        onlyRenderVisibleElements
        onNodeClick={(_, node) => setParameters({ focus: node.id })}
        onNodeDoubleClick={(_, node) => go(nodePath(node.id))}
        onPaneClick={() => setParameters({})}
        proOptions={{ hideAttribution: true }}
      >
        <Background gap={24} />
        <Controls showInteractive={false} />
      </ReactFlow>
      {focused !== undefined && <Detail thing={focused} close={() => setParameters({})} />}
    </div>
  );
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

function flows(beat: Beat | undefined, from: string, to: string): boolean {
  return (
    beat !== undefined && (beat.rates[from] ?? 0) > 0 && (beat.rates[to] === undefined || (beat.rates[to] ?? 0) > 0)
  );
}

const ICONS: Readonly<Record<NodeKind, () => React.JSX.Element>> = {
  ...{
    stream: icons.stream,
    table: icons.table,
    function: icons.function,
    window: icons.window,
    feature: icons.feature,
  },
  ...{ alert: icons.alerts, workflow: icons.workflow, destination: icons.destination, server: icons.server },
};

function Thing({ data: { thing, dimmed } }: NodeProps<ThingNode>) {
  const { pulse, rate: perSecond } = useNode(thing.id);
  const Icon = ICONS[thing.kind];
  const health = pulse?.health ?? "idle";
  const trouble = (pulse?.rejected ?? 0) + (pulse?.deadLettered ?? 0);
  return (
    <div className={`thing ${health} ${dimmed ? "dimmed" : ""}`}>
      <Handle type="target" position={Position.Left} className="quiet-handle" isConnectable={false} />
      <Icon />
      <span className="name" title={thing.name}>
        {thing.name}
      </span>
      <HealthMark health={health} />
      <span className="facts-line">
        {pulse !== undefined && perSecond > 0 && <span className="rate">{rate(perSecond)}</span>}
        <span className="what">{lineOf(thing, pulse)}</span>
        {trouble > 0 && <span className="trouble">{compact(trouble)} refused</span>}
      </span>
      <Handle type="source" position={Position.Right} className="quiet-handle" isConnectable={false} />
    </div>
  );
}

function lineOf(thing: MapNode, pulse: ReturnType<typeof useNode>["pulse"]): string {
  if (pulse === undefined) return thing.detail;
  if (thing.kind === "alert") return pulse.count === 0 ? "quiet" : `${count(pulse.count)} firing`;
  const what = { table: "rows", stream: "events", window: "results", function: "handled", destination: "delivered" }[
    thing.kind as string
  ];
  const fresh = pulse.freshAtMs === null ? "" : ` · ${ago(pulse.freshAtMs)}`;
  return `${compact(pulse.count)} ${what ?? ""}${fresh}`;
}

function Detail({ thing, close }: { thing: MapNode; close: () => void }) {
  const { pulse, rate: perSecond, history } = useNode(thing.id);
  return (
    <aside className="detail" aria-label={`${thing.kind} ${thing.name}`}>
      <div className="row">
        <h2>{thing.name}</h2>
        <Badge>{thing.kind}</Badge>
        <button type="button" className="button quiet" onClick={close} style={{ marginLeft: "auto" }}>
          Close
        </button>
      </div>
      <p className="soft">
        {thing.detail}
        {thing.file !== null && (
          <>
            {" · "}
            <code>{thing.file}</code>
          </>
        )}
      </p>
      {pulse?.problem != null && <div className="notice bad">{pulse.problem}</div>}
      {pulse !== undefined && (
        <>
          <Spark values={history} label={`Rate of the last minute, now ${rate(perSecond)}`} />
          <Facts
            facts={[
              ["now", rate(perSecond)],
              ["in all", count(pulse.count)],
              ["waiting", count(pulse.pending)],
              ["rejected", count(pulse.rejected)],
              ["dead letters", count(pulse.deadLettered)],
            ]}
          />
        </>
      )}
      {nodePath(thing.id).startsWith("/?") ? null : (
        <Link to={nodePath(thing.id)} className="button primary">
          Open
        </Link>
      )}
    </aside>
  );
}

function FirstStep() {
  return (
    <Empty title="Nothing is defined yet">
      <p>
        A project is a folder with a millrace.config.ts and TypeScript files that export definitions. This one makes a
        stream of your own:
      </p>
      <Snippet label="a first stream" text={FIRST_STREAM} />
    </Empty>
  );
}
