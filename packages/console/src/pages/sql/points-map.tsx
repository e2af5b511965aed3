/**
 * Rows on a map of the world, by their longitude and latitude. The outlines of countries (Natural Earth, in the public domain, 1:110 million) come with the console,
 * and are asked for when the first map is drawn.
 */
import { ScatterChart } from "echarts/charts";
import { GeoComponent, TooltipComponent } from "echarts/components";
import { type EChartsCoreOption, registerMap, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useState } from "react";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import outlines from "world-atlas/countries-110m.json?url";
import type { SqlResult } from "../../api.ts";
import { cell } from "../../format.ts";
import { colour } from "../../theme/theme.ts";
import { Failure, Loading } from "../../ui/ui.tsx";
import { isNumber, placesIn } from "./chart-kinds.ts";
import { ChartPlace, useChart } from "./use-chart.tsx";

use([ScatterChart, GeoComponent, TooltipComponent, CanvasRenderer]);

const WORLD = "world";
const LEAST_DOT = 5;
const MOST_DOT = 26;
let world: Promise<void> | undefined;

export default function PointsMap({ result }: { result: SqlResult }) {
  const [state, setState] = useState<"loading" | "there" | Error>("loading");
  useEffect(() => {
    world ??= loadWorld();
    world.then(
      () => setState("there"),
      (error: Error) => {
        world = undefined; // the next map asks again
        setState(error);
      },
    );
  }, []);
  if (state === "loading") return <Loading what="the map" />;
  if (state !== "there") return <Failure error={state} />;
  return <Points result={result} />;
}

async function loadWorld(): Promise<void> {
  const response = await fetch(outlines);
  if (!response.ok) throw new Error(`the outlines of the map did not come: ${response.status}`);
  const topology = (await response.json()) as Topology<{ countries: GeometryCollection<{ name: string }> }>;
  registerMap(WORLD, feature(topology, topology.objects.countries) as never);
}

function Points({ result }: { result: SqlResult }) {
  const place = useChart(() => optionOf(result), result, "map");
  return <ChartPlace place={place} kind="map" result={result} />;
}

/** The first number that is no coordinate is how large a dot is. */
function optionOf({ columns, rows }: SqlResult): EChartsCoreOption {
  const { longitude, latitude } = placesIn(columns) as { longitude: number; latitude: number };
  const size = columns.findIndex((column, i) => i !== longitude && i !== latitude && isNumber(column));
  const most = rows.reduce((sum, row) => Math.max(sum, Math.abs(Number(row[size] ?? 0))), 0);
  const dot = (value: unknown) =>
    size < 0 || most === 0
      ? LEAST_DOT + 2
      : LEAST_DOT + (MOST_DOT - LEAST_DOT) * Math.sqrt(Math.abs(Number(value ?? 0)) / most);
  const told = rows.filter((row) => row[longitude] !== null && row[latitude] !== null);
  return {
    animation: false,
    geo: {
      map: WORLD,
      roam: "move",
      silent: true,
      // What stays of the globe without its ice, so that there is room for where people live.
      boundingCoords: [
        [-170, 80],
        [185, -58],
      ],
      itemStyle: { areaColor: colour("sunken"), borderColor: colour("line-strong"), borderWidth: 0.6 },
    },
    // Drawn, not written as HTML: values of a result never become markup.
    tooltip: {
      renderMode: "richText",
      trigger: "item",
      formatter: ({ dataIndex }: { dataIndex: number }) =>
        columns.map(({ name }, i) => `${name}: ${cell(told[dataIndex]?.[i])}`).join("\n"),
    },
    series: [
      {
        type: "scatter",
        coordinateSystem: "geo",
        symbolSize: (value: readonly unknown[]) => dot(value[2]),
        itemStyle: { color: colour("chart-1"), opacity: 0.75, borderColor: colour("surface"), borderWidth: 0.5 },
        data: told.map((row) => [Number(row[longitude]), Number(row[latitude]), size < 0 ? 1 : row[size]]),
      },
    ],
  };
}
