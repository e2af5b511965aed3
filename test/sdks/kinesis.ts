/** AWS's SDKs for Python and Java, and a consumer that others wrote, against the real platform: a part of `npm run test:sdks`. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { RunningPlatform } from "../platform/running-platform.ts";
import { installed, run } from "./install.ts";

const COUNT = 1200;
let dir: string;
let platform: RunningPlatform;
let key: readonly [id: string, secret: string];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kinesis-sdks-"));
  platform = await RunningPlatform.start("test/kinesis/project", join(dir, "data"));
  const made = await platform.command("keys", "create", "--name", "sdk", "--scopes", "ingest,query", "--aws", "--json");
  const { accessKey } = JSON.parse(made.stdout) as { accessKey: { accessKeyId: string; secretAccessKey: string } };
  key = [accessKey.accessKeyId, accessKey.secretAccessKey];
});
after(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

const python = (name: string, command: (venv: string, dir: string) => readonly string[]) =>
  installed(name, ["python3"], "python3 python3-venv", (folder) => {
    run(["python3", "-m", "venv", join(folder, "venv")], folder);
    const pip = [join(folder, "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run([...pip, "-r", "requirements.txt"], folder);
    return command(join(folder, "venv/bin"), folder);
  });

const SDKS = [
  {
    name: "python",
    of: "boto3",
    count: COUNT + 1,
    install: () => python("kinesis-python", (bin, folder) => [join(bin, "python"), join(folder, "round_trip.py")]),
  },
  {
    name: "java",
    of: "the SDK for Java, over HTTP/2 and HTTP/1.1 and in CBOR",
    count: COUNT,
    install: () =>
      installed("kinesis-java", ["java", "mvn"], "default-jdk-headless maven", (folder) => {
        const copy = ["dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"];
        run(["mvn", "-q", "-B", "-ntp", "compile", ...copy], folder);
        return ["java", "-cp", `${join(folder, "target/classes")}:${join(folder, "lib/*")}`, "RoundTrip"];
      }),
  },
];

for (const { name, of, count, install } of SDKS) {
  describe(of, () => {
    it("puts records, hears of one that breaks the contract, and reads all back", async () => {
      const [program, ...args] = install();
      const child = spawn(program as string, [...args, platform.url, ...key, String(COUNT)]);
      const [code, stdout, stderr] = await finished(child);
      assert.equal(code, 0, stdout + stderr);
      const expected = Array.from({ length: count }, (_, n) => `${name}-${n}`);
      const found = JSON.parse(stdout) as string[];
      assert.deepEqual(found.toSorted(), expected.toSorted());
      const [[stored] = []] = await platform.sql(`select count(*) from readings where id like '${name}-%'`);
      assert.equal(Number(stored), count);
      const letters = await platform.sql("select code, payload from system.dead_letters");
      assert.ok(letters.every(([letter, payload]) => letter === "EVENT_INVALID" && payload === '{"id":1}'));
    });
  });
}

describe("aws-kinesis-consumer, pointed here by its endpoint", () => {
  it("prints every record from the horizon on, and those that come while it runs", async () => {
    const [program, ...args] = python("kinesis-consumer", (bin) => [join(bin, "aws-kinesis-consumer")]);
    const put = (from: number) =>
      platform.post(
        "lines",
        Array.from({ length: 30 }, (_, n) => ({ line: `line-${from + n}` })),
      );
    await put(0);
    const options = ["--stream-name", "lines", "--endpoint", platform.url, "--region", "eu-west-1"];
    const child = spawn(program as string, [...args, ...options, "--iterator-type", "trim-horizon"], {
      env: { ...process.env, AWS_ACCESS_KEY_ID: key[0], AWS_SECRET_ACCESS_KEY: key[1], PYTHONUNBUFFERED: "1" },
    });
    let said = "";
    for (const output of [child.stdout, child.stderr]) {
      output.on("data", (text) => {
        said += text;
      });
    }
    const lines = () => new Set(said.match(/line-\d+/g));
    const until = async (count: number) => {
      for (let tries = 0; tries < 600 && lines().size < count && child.exitCode === null; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.equal(lines().size, count, said);
    };
    try {
      await until(30);
      await put(30);
      await until(60);
    } finally {
      child.kill("SIGKILL");
    }
  });
});

async function finished(
  child: ReturnType<typeof spawn>,
): Promise<[code: number | null, stdout: string, stderr: string]> {
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (text) => {
    stdout += text;
  });
  child.stderr?.on("data", (text) => {
    stderr += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return [code, stdout, stderr];
}
