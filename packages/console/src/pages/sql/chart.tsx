/** A result as a chart. Loaded when the first one is drawn. */
import { BarChart, HeatmapChart, LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent, TooltipComponent, VisualMapComponent } from "echarts/components";
import { type EChartsCoreOption, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import type { SqlResult } from "../../api.ts";
import { count } from "../../format.ts";
import { colour } from "../../theme/theme.ts";
import type { ChartKind } from "./chart-kinds.ts";
import { isNumber, isTime } from "./chart-kinds.ts";
import { ChartPlace, useChart } from "./use-chart.tsx";

use([
  BarChart,
  HeatmapChart,
  LineChart,
  ScatterChart,
  GridComponent,
  LegendComponent,
  TooltipComponent,
  VisualMapComponent,
  CanvasRenderer,
]);

export default function Chart({ result, kind }: { result: SqlResult; kind: Exclude<ChartKind, "map"> }) {
  const place = useChart(() => optionOf(result, kind), result, kind);
  return <ChartPlace place={place} kind={kind} result={result} />;
}

function optionOf({ columns, rows }: SqlResult, kind: Exclude<ChartKind, "map">): EChartsCoreOption {
  const text = colour("text-soft");
  const line = colour("line");
  const axis = {
    axisLabel: { color: text },
    axisLine: { lineStyle: { color: line } },
    splitLine: { lineStyle: { color: line } },
    nameTextStyle: { color: text },
  };
  const base = {
    animation: false,
    color: [1, 2, 3, 4, 5, 6].map((n) => colour(`chart-${n}`)),
    grid: { left: 12, right: 20, top: 36, bottom: 8, containLabel: true },
    legend: { textStyle: { color: text }, type: "scroll", top: 0 },
    // Drawn, not written as HTML: values of a result never become markup.
    tooltip: { renderMode: "richText", trigger: kind === "scatter" || kind === "heat map" ? "item" : "axis" },
  };
  const x = 0;
  const xColumn = columns[x] as { name: string; type: string };
  const numbers = columns.flatMap((column, i) => (i !== x && isNumber(column) ? [i] : []));
  const valueAt = (row: readonly unknown[], i: number) => (row[i] === null ? null : Number(row[i]));
  if (kind === "heat map") {
    const xs = [...new Set(rows.map((row) => String(row[0])))];
    const ys = [...new Set(rows.map((row) => String(row[1])))];
    const value = numbers.find((i) => i > 1) ?? 2;
    const all = rows.map((row) => valueAt(row, value) ?? 0);
    return {
      ...base,
      legend: undefined,
      xAxis: { type: "category", data: xs, ...axis },
      yAxis: { type: "category", data: ys, ...axis },
      visualMap: {
        min: Math.min(...all),
        max: Math.max(...all),
        calculable: true,
        orient: "horizontal",
        left: "center",
        top: 0,
        textStyle: { color: text },
        inRange: { color: [colour("sunken"), colour("chart-1")] },
      },
      series: [
        {
          type: "heatmap",
          data: rows.map((row, i) => [xs.indexOf(String(row[0])), ys.indexOf(String(row[1])), all[i]]),
        },
      ],
    };
  }
  // A text in second place divides the numbers into one series each.
  const divider =
    columns[1] !== undefined && !isNumber(columns[1]) && !isTime(columns[1]) && numbers.length > 0 ? 1 : undefined;
  const groups = divider === undefined ? undefined : [...new Set(rows.map((row) => String(row[divider])))].slice(0, 30);
  const time = isTime(xColumn);
  const numeric = isNumber(xColumn) && kind === "scatter";
  const pointOf = (row: readonly unknown[], i: number) => [
    time ? Date.parse(String(row[x])) : numeric ? Number(row[x]) : String(row[x]),
    valueAt(row, i),
  ];
  const moments = time ? [...new Set(rows.map((row) => pointOf(row, x)[0] as number))].sort((a, b) => a - b) : [];
  /** Of one group. What is stacked has a value wherever another group has one, so that each lies on those below it. */
  const pointsOf = (group: string) => {
    const points = rows
      .filter((row) => String(row[divider as number]) === group)
      .map((row) => pointOf(row, numbers[0] as number));
    if (kind !== "area" || !time) return points;
    const at = new Map(points.map(([moment, value]) => [moment, value]));
    return moments.map((moment) => [moment, at.get(moment) ?? 0]);
  };
  const series =
    groups === undefined
      ? numbers.map((i) => ({ name: columns[i]?.name, data: rows.map((row) => pointOf(row, i)) }))
      : groups.map((group) => ({
          name: group,
          data: pointsOf(group),
        }));
  const categories = time || numeric ? undefined : [...new Set(rows.map((row) => String(row[x])))];
  return {
    ...base,
    xAxis: {
      type: time ? "time" : numeric ? "value" : "category",
      ...(categories && { data: categories }),
      name: xColumn.name,
      nameLocation: "middle",
      nameGap: 28,
      ...axis,
    },
    yAxis: {
      type: "value",
      ...axis,
      axisLabel: {
        color: text,
        formatter: (value: number) => (Number.isInteger(value) ? count(value) : String(value)),
      },
    },
    series: series.map((one) => ({
      ...one,
      type: kind === "bar" ? "bar" : kind === "scatter" ? "scatter" : "line",
      ...(kind === "area" && { areaStyle: { opacity: 0.2 }, stack: groups === undefined ? undefined : "all" }),
      ...(kind !== "scatter" && kind !== "bar" && { showSymbol: rows.length < 60, sampling: "lttb" }),
      large: rows.length > 5_000,
    })),
  };
}
