// The layout's direction, held by a rule: cli -> platform -> (gateway, flow, react, orchestrate, serve, backup)
// -> (log, lake, engine, state) -> (define, config, errors). Parts of one level meet only through the types of ports,
// so that each can be swapped on its own. swc reads the sources, because TypeScript 7 has no compiler API.
const FEATURES = ["gateway", "flow", "react", "orchestrate", "serve", "backup"];
const MEANS = ["log", "lake", "engine", "state"];
const GROUND = ["define", "config", "errors"];

const folders = (names) => `^src/(${names.join("|")})(/|\\.ts$)`;

/** Code of a lower level that reaches for a higher one; types count as well, for they couple just as much. */
const upward = (name, from, to, comment) => ({
  name,
  comment,
  severity: "error",
  from: { path: folders(from) },
  to: { path: folders(to) },
});

/** Siblings may name the types of each other's ports, and nothing else. `flow` is allowed what stands below it. */
const siblings = (name, level) => ({
  name,
  comment: "parts of one level get each other handed in by platform.ts; only `import type` of a port crosses",
  severity: "error",
  from: { path: `^src/(${level.join("|")})/` },
  to: { path: folders(level), pathNot: "^src/$1(/|\\.ts$)", dependencyTypesNot: ["type-only"] },
});

module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      comment:
        "two modules that need each other are one module, or want a third. Types leave no trace when the code runs.",
      severity: "error",
      from: { path: "^src/" },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "no-unresolved",
      comment: "an import that leads nowhere",
      severity: "error",
      from: { path: "^(src|bin)/" },
      to: { couldNotResolve: true },
    },
    {
      name: "declared-packages-only",
      comment: "src/ runs in the published package, where only `dependencies` are installed",
      severity: "error",
      from: { path: "^(src|bin)/" },
      to: {
        dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev"],
        dependencyTypesNot: ["type-only"],
      },
    },
    upward(
      "ground-knows-nobody",
      GROUND,
      [...MEANS, ...FEATURES, "cli", "platform"],
      "the ground imports nothing above it",
    ),
    upward(
      "means-know-no-features",
      MEANS,
      [...FEATURES, "cli", "platform"],
      "log, lake, engine and state serve whoever stands above",
    ),
    upward("features-know-no-shell", FEATURES, ["cli", "platform"], "only the shell composes"),
    upward("platform-knows-no-cli", ["platform"], ["cli"], "the platform runs without a command line"),
    siblings("features-meet-in-platform", FEATURES),
    siblings("means-meet-in-platform", MEANS),
    {
      name: "doors-get-what-they-need-passed-in",
      comment: "gateway and serve name only the ports of log, lake, engine and state, never their code",
      severity: "error",
      from: { path: "^src/(gateway|serve)/" },
      to: { path: folders(MEANS), dependencyTypesNot: ["type-only"] },
    },
    {
      name: "the-tracker-stands-alone",
      comment:
        "it is published by itself, without dependencies: own files and Node's modules, and of those nothing in a page",
      severity: "error",
      from: { path: "^packages/tracker/src/" },
      to: { pathNot: "^packages/tracker/src/", dependencyTypesNot: ["core"] },
    },
    {
      name: "pages-know-no-node",
      comment: "what the browser's entry reaches runs in a page",
      severity: "error",
      from: {
        path: "^packages/tracker/src/",
        pathNot: "^packages/tracker/src/(node|node-fields|journal|queue-folder)\\.ts$",
      },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "src-knows-no-tests",
      comment: "clock, randomness and faults come in through ports; nothing in src/ knows that tests exist",
      severity: "error",
      from: { path: "^(src|bin|packages)/" },
      to: { path: "^(test|bench|examples)/" },
    },
  ],
  options: {
    parser: "swc",
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)dist/" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default"],
      extensions: [".ts", ".js", ".json"],
    },
  },
};
