import { type Admit, STAGES, STATUSES } from "../flow/dead-letter-desk.ts";
import type { Flow } from "../flow/flow.ts";
import type { DeadLetters, LetterFilter } from "../serve/dead-letters-route.ts";

type Stage = (typeof STAGES)[number];
type Status = (typeof STATUSES)[number];

/** The flow's dead letters as the HTTP routes see them, which have checked stage and status against the lists here. */
export function deadLetters(flow: Flow, admit: Admit): DeadLetters {
  const desk = flow.deadLetterDesk;
  const filterOf = (filter: LetterFilter) => ({ ...filter, stage: filter.stage as Stage | undefined });
  return {
    stages: STAGES,
    statuses: STATUSES,
    list: ({ status, ...filter }, page) =>
      desk.list({ ...filterOf(filter), status: status as Status | undefined }, page),
    show: (id) => desk.show(id),
    retry: (selection, request) =>
      desk.retry("ids" in selection ? selection : { filter: filterOf(selection.filter) }, { ...request, admit }),
    discard: (selection, request) =>
      desk.discard("ids" in selection ? selection : { filter: filterOf(selection.filter) }, request),
  };
}
