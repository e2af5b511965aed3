import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DOCS } from "../../bin/write-docs.ts";
import { formatDuration, formatSize, readDuration, readSize } from "../../src/config/quantity.ts";
import { environmentName, flagName } from "../../src/config/setting.ts";
import { declarations, resolveSettings, SETTINGS, showSettings } from "../../src/config/settings.ts";
import { MillraceError } from "../../src/errors.ts";

const machine = { cores: 2, memoryBytes: 8 * 1024 ** 3 };

test("without anything given every setting has its default, and paths lie in the project", () => {
  const { settings, sources } = resolveSettings({ projectDir: "/srv/shop", machine });
  assert.equal(settings.port, 8080);
  assert.equal(settings.dataDir, "/srv/shop/.millrace");
  assert.equal(settings.flushIntervalMs, 5_000);
  assert.equal(settings.maxBodyBytes, 33_554_432);
  assert.equal(settings.engineThreads, 2);
  assert.equal(settings.engineMemoryBytes, 2 * 1024 ** 3);
  assert.equal(settings.postgresUrl, undefined);
  assert.ok(Object.values(sources).every((source) => source === "default"));
  assert.ok(Object.isFrozen(settings) && Object.isFrozen(sources));
});

test("a flag goes before the environment, that before the project, that before the default", () => {
  const { settings, sources } = resolveSettings({
    flags: { port: "1" },
    env: { MILLRACE_PORT: "2", MILLRACE_HOST: "::1" },
    project: { port: 3, host: "0.0.0.0", partitions: 4 },
    machine,
  });
  assert.deepEqual([settings.port, settings.host, settings.partitions], [1, "::1", 4]);
  assert.deepEqual(
    [sources.port, sources.host, sources.partitions, sources.dataDir],
    ["flag", "environment", "project", "default"],
  );
});

test("roles are some of a few words, in whatever order, from wherever; others are refused", () => {
  assert.deepEqual(resolveSettings({ machine }).settings.role, ["gateway", "flow", "react", "orchestrate", "serve"]);
  for (const given of [{ flags: { role: "serve, gateway" } }, { project: { role: ["serve", "gateway"] } }])
    assert.deepEqual(resolveSettings({ ...given, machine }).settings.role, ["gateway", "serve"]);
  for (const role of ["gatway", "flow,", "flow;react", "", []]) {
    assert.throws(() => resolveSettings({ project: { role }, machine }), {
      code: "SETTING_INVALID",
      message: /one or more of gateway, flow, react, orchestrate, serve, separated by commas/,
    });
  }
  const shown = showSettings(resolveSettings({ flags: { role: "flow,react" }, machine }));
  assert.equal(shown.find(({ name }) => name === "role")?.value, "flow,react");
});

test("where a worker is reached is a URL of HTTP", () => {
  const of = (advertiseUrl: string) => resolveSettings({ flags: { advertiseUrl }, machine }).settings.advertiseUrl;
  assert.equal(of("https://a.example:8443"), "https://a.example:8443");
  assert.throws(() => of("postgres://a.example"), { code: "SETTING_INVALID", message: /http:\/\/ or https:\/\// });
});

test("durations and sizes are taken as numbers and as people write them, wherever they come from", () => {
  const { settings } = resolveSettings({
    flags: { flushIntervalMs: "250ms", flushBytes: "64 MiB" },
    env: { MILLRACE_RETENTION_MS: "14d", MILLRACE_SEGMENT_BYTES: "1048576" },
    project: { queryTimeoutMs: 1_500, horizonMs: "1.5h" },
    machine,
  });
  assert.deepEqual(
    [
      settings.flushIntervalMs,
      settings.flushBytes,
      settings.retentionMs,
      settings.segmentBytes,
      settings.queryTimeoutMs,
      settings.horizonMs,
    ],
    [250, 67_108_864, 1_209_600_000, 1_048_576, 1_500, 5_400_000],
  );
});

test("a relative data folder is the caller's on the command line and the project's in the project", () => {
  const places = { projectDir: "/srv/shop", cwd: "/home/ada", machine };
  assert.equal(resolveSettings({ ...places, flags: { dataDir: "d" } }).settings.dataDir, "/home/ada/d");
  assert.equal(resolveSettings({ ...places, env: { MILLRACE_DATA_DIR: "d" } }).settings.dataDir, "/home/ada/d");
  assert.equal(resolveSettings({ ...places, project: { dataDir: "d" } }).settings.dataDir, "/srv/shop/d");
});

for (const [given, message] of [
  [
    { flags: { port: "eighty" } },
    /setting --port \(on the command line\) must be a whole number from 0 to 65535; got "eighty"/,
  ],
  [{ env: { MILLRACE_PORT: "70000" } }, /setting MILLRACE_PORT \(in the environment\) .* got "70000"/],
  [
    { project: { flushIntervalMs: "soon" } },
    /flushIntervalMs \(in millrace\.config\.ts\) must be a duration \(5s, 10m, 7d\) of at least 10ms; got "soon"/,
  ],
  [{ project: { flushIntervalMs: 3 } }, /got 3$/],
  [{ project: { flushBytes: "1 potato" } }, /must be a size/],
  [{ project: { partitions: 1.5 } }, /partitions/],
  [{ project: { host: "" } }, /host .* must be text that is not empty/],
  [{ flags: { logLevel: "loud" } }, /one of error, warn, info, debug; got "loud"/],
  [{ project: { maxNesting: Number.NaN } }, /maxNesting/],
] as const) {
  test(`${JSON.stringify(given)} is refused with what is allowed and what was given`, () => {
    assert.throws(
      () => resolveSettings({ ...given, machine }),
      (error) => {
        assert.ok(error instanceof MillraceError);
        assert.equal(error.code, "SETTING_INVALID");
        assert.match(error.message, message);
        return true;
      },
    );
  });
}

test("an unknown setting is named with its nearest match", () => {
  const fails = (given: Parameters<typeof resolveSettings>[0], message: RegExp) =>
    assert.throws(() => resolveSettings({ ...given, machine }), { code: "SETTING_UNKNOWN", message });
  fails({ project: { flushIntervall: 1 } }, /"flushIntervall" .*did you mean "flushIntervalMs"\?/);
  fails({ flags: { qwertyuiop: 1 } }, /no setting "qwertyuiop" \(on the command line\)$/);
  fails({ env: { MILLRACE_FLUSH_INTERVAL: "1s" } }, /did you mean "MILLRACE_FLUSH_INTERVAL_MS"\?/);
});

test("variables that others put into the environment are no mistakes", () => {
  const env = {
    MILLRACE_URL: "http://127.0.0.1:1",
    MILLRACE_KEY: "k",
    MILLRACE_PORT: "tcp://10.0.0.1:80",
    MILLRACE_SERVICE_HOST: "10.0.0.1",
    MILLRACE_PORT_80_TCP_PROTO: "tcp",
    PATH: "/bin",
  };
  assert.equal(resolveSettings({ env, machine }).sources.port, "default");
});

test("a PostgreSQL server may be on a socket", () => {
  const url = "postgres://ada:s3cret@/millrace?host=%2Frun%2Fpostgresql";
  assert.equal(resolveSettings({ env: { MILLRACE_POSTGRES_URL: url }, machine }).settings.postgresUrl, url);
  for (const wrong of ["postgres://ada:s3cret@/millrace", "postgres://ada@ho st/millrace"])
    assert.throws(
      () => resolveSettings({ env: { MILLRACE_POSTGRES_URL: wrong }, machine }),
      /SETTING_INVALID|postgres/,
    );
});

test("a secret is shown nowhere, not even when it is wrong", () => {
  const url = "postgres://ada:s3cret@db/millrace";
  const resolved = resolveSettings({ env: { MILLRACE_POSTGRES_URL: url }, machine });
  assert.equal(resolved.settings.postgresUrl, url);
  assert.doesNotMatch(JSON.stringify(showSettings(resolved)), /s3cret/);
  assert.throws(
    () => resolveSettings({ env: { MILLRACE_POSTGRES_URL: "mysql://ada:s3cret@db" }, machine }),
    (error: Error) => error.message.includes("postgres://") && !error.message.includes("s3cret"),
  );
});

test("settings are shown as people write them, each with its source", () => {
  const shown = showSettings(resolveSettings({ flags: { flushBytes: 65_536 }, machine }));
  const of = (name: string) => shown.find((setting) => setting.name === name);
  assert.deepEqual([of("flushBytes")?.value, of("flushBytes")?.source], ["64KiB", "flag"]);
  assert.deepEqual([of("retentionMs")?.value, of("postgresUrl")?.value], ["7d", null]);
  assert.equal(shown.length, Object.keys(SETTINGS).length);
});

test("every setting has one line of documentation, a default it would itself accept, and names nobody else has", () => {
  for (const [name, setting] of declarations()) {
    assert.match(setting.doc, /^[A-Z].*\.$|^PostgreSQL/, name);
    assert.doesNotMatch(setting.doc, /\n/, name);
    const value = typeof setting.default === "function" ? setting.default(machine) : setting.default;
    if (value !== undefined) assert.doesNotThrow(() => resolveSettings({ project: { [name]: value }, machine }), name);
  }
  const names = declarations().map(([name]) => name);
  for (const naming of [environmentName, flagName]) assert.equal(new Set(names.map(naming)).size, names.length);
});

test("docs/settings.md is what the declarations say (npm run docs:settings)", () => {
  const page = readFileSync(new URL(`../../${DOCS.settings!.file}`, import.meta.url), "utf8");
  assert.equal(page, DOCS.settings!.write());
});

test("durations and sizes survive being written and read again", () => {
  for (const ms of [0, 1, 999, 1_000, 90_000, 3_600_000, 604_800_000])
    assert.equal(readDuration(formatDuration(ms)), ms);
  for (const size of [0, 1, 1_000, 1_024, 1_536, 67_108_864, 2 * 1024 ** 3])
    assert.equal(readSize(formatSize(size)), size);
  for (const wrong of ["", "s", "5 s 3", "-5s", "5x", "1e3", "5s!"])
    assert.equal(readDuration(wrong), undefined, wrong);
  for (const wrong of ["", "MiB", "-1", "5 TiB", "1e3", "64 MiB x"]) assert.equal(readSize(wrong), undefined, wrong);
});
