/** The steps of a run as a graph, each with its state. */
import dagre from "@dagrejs/dagre";
import { Background, Controls, type Edge, Handle, type Node, type NodeProps, Position, ReactFlow } from "@xyflow/react";
import { memo, useMemo } from "react";
import type { StepView } from "../../api.ts";
import { duration } from "../../format.ts";
import { HealthMark } from "../../ui/ui.tsx";
import { edgesOf, labelOf } from "./step-graph.ts";
import "@xyflow/react/dist/base.css";
import "../map/map.css";

type StepNode = Node<{ step: StepView; chosen: boolean }, "step">;

const NODE_TYPES = { step: memo(Step) };
const WIDTH = 220;
const HEIGHT = 76;
const HEALTH: Readonly<Record<string, "ok" | "warning" | "bad" | "idle">> = {
  ...{ succeeded: "ok", completed: "ok", failed: "bad", running: "warning", waiting: "warning", compensated: "idle" },
};

export default function RunGraph(props: {
  steps: readonly StepView[];
  chosen: string | undefined;
  choose: (step: string | undefined) => void;
}) {
  const { steps, chosen, choose } = props;
  const links = useMemo(() => edgesOf(steps), [steps]);
  const shape = JSON.stringify([steps.map(({ step }) => step), links]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: laid out again when its shape changes, not its states
  const places = useMemo(() => placesOf(steps, links), [shape]);
  const nodes = steps.map<StepNode>((step) => ({
    id: step.step,
    type: "step",
    position: places.get(step.step) ?? { x: 0, y: 0 },
    data: { step, chosen: step.step === chosen },
    ariaLabel: `${labelOf(step.step)}: ${step.status}`,
  }));
  const edges = links.map<Edge>(({ from, to }) => ({
    id: `${from} ${to}`,
    source: from,
    target: to,
    focusable: false,
  }));
  return (
    <div className="run-graph">
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={NODE_TYPES}
        fitView
        fitViewOptions={{ maxZoom: 1, padding: 0.1 }}
        minZoom={0.1}
        maxZoom={1.6}
        nodesDraggable={false}
        nodesConnectable={false}
        onlyRenderVisibleElements
        preventScrolling={false}
        zoomOnScroll={false}
        onNodeClick={(_, node) => choose(node.id)}
        onPaneClick={() => choose(undefined)}
        onNodesChange={(changes) => {
          // The keyboard chooses as well.
          for (const change of changes) if (change.type === "select" && change.selected) choose(change.id);
        }}
        proOptions={{ hideAttribution: true }}
      >
        <Background gap={24} />
        <Controls showInteractive={false} />
      </ReactFlow>
    </div>
  );
}

function Step({ data: { step, chosen } }: NodeProps<StepNode>) {
  const health = HEALTH[step.status] ?? "idle";
  return (
    <div className={`thing ${health} ${chosen ? "chosen" : ""}`}>
      <Handle type="target" position={Position.Left} className="quiet-handle" isConnectable={false} />
      <HealthMark health={health} />
      <span className="name" title={labelOf(step.step)}>
        {labelOf(step.step)}
      </span>
      <span />
      <span className="facts-line">
        <span className="what">
          {step.status} · {step.kind}
        </span>
        {step.elapsedMs !== null && <span>{duration(step.elapsedMs)}</span>}
        {step.attempts > 1 && <span>{step.attempts} attempts</span>}
      </span>
      <Handle type="source" position={Position.Right} className="quiet-handle" isConnectable={false} />
    </div>
  );
}

function placesOf(steps: readonly StepView[], links: readonly { readonly from: string; readonly to: string }[]) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 22, ranksep: 60, marginx: 16, marginy: 16 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { step } of steps) graph.setNode(step, { width: WIDTH, height: HEIGHT });
  for (const { from, to } of links) graph.setEdge(from, to);
  dagre.layout(graph);
  return new Map(
    steps.map(({ step }) => {
      const { x, y } = graph.node(step);
      return [step, { x: x - WIDTH / 2, y: y - HEIGHT / 2 }] as const;
    }),
  );
}
