/** What a table is made of, and everything that reads it: tables, functions, alerts, workflows, features, and where it is published. */
import { Link } from "wouter";
import type { MapNode, NodeKind } from "../../../../../src/serve/map-route.ts";
import { api, type TableView } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { nodePath } from "../../places.ts";
import { Badge, Failure, Loading } from "../../ui/ui.tsx";

const HOW: Readonly<Record<NodeKind, string>> = {
  stream: "stream",
  table: "table",
  window: "window",
  function: "function looks it up",
  feature: "feature",
  alert: "alert watches it",
  workflow: "workflow starts with its commits",
  destination: "destination",
  server: "publishes it to BI tools",
};

export function Lineage({ table: { name } }: { table: TableView }) {
  const { value: map, error, reload } = useLoad("map", (signal) => api.map(signal));
  if (error !== undefined) return <Failure error={error} retry={reload} />;
  if (map === undefined) return <Loading what="its readers" />;
  const known = new Map(map.nodes.map((node) => [node.id, node]));
  const ids = idsOf(name).filter((id) => known.has(id));
  const nodesOf = (found: readonly string[]) =>
    [...new Set(found)].filter((id) => !ids.includes(id)).flatMap((id) => known.get(id) ?? []);
  const inputs = nodesOf(map.edges.filter(({ to }) => ids.includes(to)).map(({ from }) => from));
  const readers = nodesOf(map.edges.filter(({ from }) => ids.includes(from)).map(({ to }) => to));
  const stream = /^bronze\.(.+)$/.exec(name)?.[1];
  return (
    <>
      <Nodes
        title="Reads"
        nodes={inputs}
        none={stream === undefined ? "nothing that is defined" : `the log of ${stream}`}
      />
      <Nodes title="Is read by" nodes={readers} none="nothing that is defined; anybody may query it" />
      <Link to={`/?focus=${encodeURIComponent(ids[0] ?? `table:${name}`)}`}>On the map</Link>
    </>
  );
}

/** A stream's own table is the stream to whoever reads it. */
function idsOf(name: string): readonly string[] {
  const stream = /^bronze\.(.+)$/.exec(name)?.[1];
  return stream === undefined ? [`table:${name}`] : [`table:${name}`, `stream:${stream}`, `window:${stream}`];
}

function Nodes({ title, nodes, none }: { title: string; nodes: readonly MapNode[]; none: string }) {
  return (
    <div>
      <h3>{title}</h3>
      {nodes.length === 0 && <p className="soft">{none}</p>}
      <ul className="readers" aria-label={title}>
        {nodes.map(({ id, kind, name }) => (
          <li key={id}>
            <Link to={nodePath(id)}>{name}</Link> <Badge>{HOW[kind]}</Badge>
          </li>
        ))}
      </ul>
    </div>
  );
}
