/** Operators for the tests of what runs operators: a module of a project. What each does says its plan. */
import { define } from "../../../src/define/definition.ts";

export const operators = ["count", "second", "third"].map((name) => define("function", name, {}, () => undefined));
