/** Where the nodes of the map stand: layers from left to right by what feeds what (dagre; Gansner et al. 1993). */
import dagre from "@dagrejs/dagre";
import type { ProjectMap } from "../../../../../src/serve/map-route.ts";

export const NODE_WIDTH = 220;
export const NODE_HEIGHT = 76;

export interface Place {
  readonly x: number;
  readonly y: number;
}

export function placesOf({ nodes, edges }: ProjectMap): ReadonlyMap<string, Place> {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 22, ranksep: 90, marginx: 24, marginy: 24 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id } of nodes) graph.setNode(id, { width: NODE_WIDTH, height: NODE_HEIGHT });
  // Look-ups bend the layers out of shape where they point back.
  for (const { from, to, kind } of edges) graph.setEdge(from, to, { weight: kind === "lookup" ? 0.2 : 1 });
  dagre.layout(graph);
  return new Map(
    nodes.map(({ id }) => {
      const { x, y } = graph.node(id);
      return [id, { x: x - NODE_WIDTH / 2, y: y - NODE_HEIGHT / 2 }];
    }),
  );
}
