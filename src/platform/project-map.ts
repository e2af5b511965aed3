/** The project as a graph: what there is, and what goes from where to where. */
import { routeOf } from "../define/alert-routes.ts";
import type { Project, Table } from "../define/project.ts";
import { DEFINED } from "../react/alerts/occasion.ts";
import type { MapEdge, MapNode, NodeKind, ProjectMap } from "../serve/map-route.ts";

export function projectMap(project: Project): ProjectMap {
  const nodes = new Map<string, MapNode>();
  const edges = new Map<string, MapEdge>();
  const add = (kind: NodeKind, name: string, detail: string, file: string | null) => {
    const id = `${kind}:${name}`;
    nodes.set(id, { id, kind, name, detail, file });
    return id;
  };
  const link = (from: string | undefined, to: string, kind: MapEdge["kind"]) => {
    if (from === undefined || from === to) return;
    edges.set(`${from} ${to} ${kind}`, { from, to, kind });
  };
  /** The node behind a name that SQL may use. */
  const source = (name: string): string | undefined => {
    if (project.windows.has(name)) return `window:${name}`;
    if (project.streams.has(name)) return `stream:${name}`;
    if (project.tables.has(name)) return `table:${name}`;
    const stream = /^bronze\.(.+)$/.exec(name)?.[1];
    return stream !== undefined && project.streams.has(stream) ? `stream:${stream}` : undefined;
  };

  for (const { name, key, file } of project.streams.values()) {
    if (!project.windows.has(name)) add("stream", name, key === undefined ? "stream" : `by ${key}`, file);
  }
  for (const { name, stream, plan, file } of project.windows.values()) {
    const id = add("window", name, plan.size.kind, file);
    link(source(stream), id, "events");
    if (plan.late !== undefined) link(id, `stream:${plan.late.stream}`, "events");
  }
  for (const table of project.tables.values()) {
    // A window's results have a table of the same rows.
    const id = add("table", table.name, detailOf(table), table.file);
    for (const input of table.inputs) {
      const driver = table.mode === "refresh" || input === table.driver;
      link(source(input), id, driver ? (table.mode === "append" ? "events" : "rows") : "lookup");
    }
    if (table.serve !== undefined) link(id, add("server", "PostgreSQL", "served tables", null), "rows");
  }
  for (const { name, stream, file } of project.features.values()) {
    link(source(stream), add("feature", name, "feature", file), "events");
  }
  for (const { name, stream, emits, features, lookups, file } of project.functions.values()) {
    const id = add("function", name, "function", file);
    link(source(stream), id, "events");
    for (const target of emits ?? []) link(id, `stream:${target}`, "events");
    for (const feature of features) link(`feature:${feature}`, id, "lookup");
    for (const { table } of Object.values(lookups)) link(source(table), id, "lookup");
  }
  for (const { name, kind, file } of project.destinations.values()) add("destination", name, kind, file);
  for (const alert of project.alerts.values()) {
    // One whose severity depends on the row is told of as the usual one.
    const severity = typeof alert.severity === "string" ? alert.severity : "warning";
    const id = add("alert", alert.name, severity, alert.file);
    for (const input of alert.over === "stream" ? [alert.stream] : alert.inputs) {
      link(source(input), id, alert.over === "stream" ? "events" : "rows");
    }
    for (const destination of alert.to.length > 0
      ? alert.to
      : routeOf(project.alertRoutes, { name: alert.name, severity, kind: DEFINED }))
      link(id, `destination:${destination}`, "delivers");
  }
  for (const destination of project.destinations.values()) {
    if (destination.kind === "stream")
      link(`destination:${destination.name}`, `stream:${destination.stream}`, "delivers");
  }
  for (const { name, file, triggers } of project.workflows.values()) {
    const id = add("workflow", name, "workflow", file);
    for (const trigger of triggers) {
      if ("table" in trigger) link(source(trigger.table), id, "starts");
      if ("workflow" in trigger) link(`workflow:${trigger.workflow}`, id, "starts");
    }
  }
  return {
    nodes: [...nodes.values()],
    edges: [...edges.values()].filter(({ from, to }) => nodes.has(from) && nodes.has(to)),
  };
}

function detailOf(table: Table): string {
  if (table.mode === "append") return table.key.length > 0 ? `newest per ${table.key.join(", ")}` : "append";
  const by = Object.keys(table.by);
  return by.length === 0 ? "refresh" : `refresh by ${by.join(", ")}`;
}
