import type { Definition } from "./definition.ts";
import { didYouMean } from "./nearest.ts";
import { type Problem, problem } from "./problem.ts";
import type { Stream } from "./project.ts";
import { type BoundWindow, bindWindow, readWindow, type WindowDraft } from "./read-window.ts";

/** A definition of a window and the file it is in. */
export interface WindowSource {
  readonly definition: Definition;
  readonly file: string;
}

/** What became of one definition; `problems` may be empty where it is over something that is broken, which is told there. */
export type ReadWindow<Source> = { readonly source: Source } & (
  | { readonly bound: BoundWindow }
  | { readonly problems: readonly Problem[] }
);

/**
 * Binds windows to their streams, each after the one it is over.
 *
 * @param broken names of streams that are defined but cannot be used.
 */
export function bindWindows<Source extends WindowSource>(
  sources: readonly Source[],
  streams: ReadonlyMap<string, Stream>,
  broken: ReadonlySet<string>,
): readonly ReadWindow<Source>[] {
  const results: ReadWindow<Source>[] = [];
  const known = new Map(streams);
  const failed = new Set(broken);
  let waiting: { readonly source: Source; readonly draft: WindowDraft }[] = [];
  const fail = (source: Source, problems: readonly Problem[]) => {
    results.push({ source, problems });
    failed.add(source.definition.name);
  };
  for (const source of sources) {
    const draft = readWindow(source.definition, source.file);
    if (!("on" in draft)) fail(source, draft);
    else waiting.push({ source, draft });
  }
  for (let before = waiting.length + 1; waiting.length < before; ) {
    before = waiting.length;
    const ready = waiting.filter(({ draft }) => known.has(draft.on) || failed.has(draft.on));
    waiting = waiting.filter((one) => !ready.includes(one));
    for (const { source, draft } of ready) {
      const stream = known.get(draft.on);
      const late = draft.late === undefined ? undefined : known.get(draft.late);
      if (stream === undefined || (draft.late !== undefined && failed.has(draft.late))) {
        fail(source, []);
        continue;
      }
      const bound =
        draft.late !== undefined && late === undefined
          ? [unknown(draft, draft.late, known)]
          : bindWindow(draft, stream, late, !streams.has(draft.on));
      if (!("window" in bound)) fail(source, bound);
      else {
        results.push({ source, bound });
        known.set(draft.name, bound.stream);
      }
    }
  }
  const names = new Set(waiting.map(({ draft }) => draft.name));
  for (const { source, draft } of waiting) {
    const path = `"${draft.name}" -> "${draft.on}"`;
    fail(source, [names.has(draft.on) ? problem("WINDOW_CYCLE", { path }) : unknown(draft, draft.on, known)]);
  }
  return results;
}

function unknown(draft: WindowDraft, input: string, known: ReadonlyMap<string, Stream>): Problem {
  const names = [...known.keys()];
  const nearest = didYouMean(input, names);
  const allowed = names.length > 0 ? names.join(", ") : "no streams";
  return problem("INPUT_UNKNOWN", { subject: `window "${draft.name}"`, input, nearest, place: "", allowed });
}
