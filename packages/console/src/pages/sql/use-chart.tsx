/** A canvas that a chart is drawn on, anew whenever what it shows, its size or the colours change. */
import { type EChartsCoreOption, type EChartsType, init } from "echarts/core";
import { type RefObject, useEffect, useRef } from "react";
import type { SqlResult } from "../../api.ts";

/** Drawn again when the result or the kind is another. */
export function useChart(
  option: () => EChartsCoreOption,
  result: SqlResult,
  kind: string,
): RefObject<HTMLDivElement | null> {
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(option);
  latest.current = option;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the option follows from the two
  useEffect(() => {
    const chart: EChartsType = init(place.current as HTMLElement);
    const draw = () => chart.setOption(latest.current(), { notMerge: true });
    draw();
    const resized = new ResizeObserver(() => chart.resize());
    resized.observe(place.current as HTMLElement);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    window.addEventListener("millrace:theme", draw);
    return () => {
      dark.removeEventListener("change", draw);
      window.removeEventListener("millrace:theme", draw);
      resized.disconnect();
      chart.dispose();
    };
  }, [result, kind]);
  return place;
}

export function ChartPlace(props: { place: RefObject<HTMLDivElement | null>; kind: string; result: SqlResult }) {
  const { place, kind, result } = props;
  return (
    <div
      ref={place}
      className="chart"
      role="img"
      aria-label={`${kind} of ${result.columns.map(({ name }) => name).join(", ")}; the grid has the numbers`}
    />
  );
}
