/** What the benchmark of reactions runs, as a module of a project. */
import { define } from "../../src/define/definition.ts";

export const operators = ["windows", "brakes"].map((name) => define("function", name, {}, () => undefined));
