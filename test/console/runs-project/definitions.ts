/** Workflows of every shape that a run's page can show. */
import { stream, workflow, z } from "millrace";

export const orders = stream("orders", { schema: z.object({ id: z.string() }), id: ["id"] });

export const shapes = workflow("shapes", {}, async (run) => {
  await run.step("begin", () => 1);
  await run.parallel("load", {
    a: async () => {
      await run.step("fetch", () => "a");
      return run.step("check", () => true);
    },
    b: () => run.step("fetch", () => "b"),
  });
  await run.map("files", ["x", "y"], (file) => run.step("read", () => file));
  run.log("waiting for the word");
  await run.waitFor("word");
  return run.step("end", () => "done");
});

export const filled = workflow("filled", {}, async (run) => {
  const { partition } = run.input as { partition: string };
  await run.step("fill", () => {
    if (partition === "GB") throw new Error("GB is away");
    return partition;
  });
});
