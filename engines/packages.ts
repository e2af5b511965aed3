import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { packagesFolder } from "./cache.ts";
import { EngineError, FetchError } from "./engine-error.ts";
import { runCommand } from "./run-command.ts";

/** A registry may be slow, and MinIO is compiled: minutes on a small machine. */
const FETCH_WITHIN_MS = 900_000;

/**
 * A folder of the cache that `make` fills once. It is made beside its place and renamed, so that one that is there is whole.
 * @throws FetchError when it cannot be filled
 */
export async function cachedPackage(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(packagesFolder(), name);
  if (existsSync(folder)) return folder;
  console.log(`fetching ${name} …`);
  const making = `${folder}.new`;
  await rm(making, { recursive: true, force: true });
  await mkdir(making, { recursive: true });
  await make(making).catch((error: unknown) => {
    throw error instanceof EngineError ? new FetchError(error) : error;
  });
  await rename(making, folder);
  return folder;
}

/**
 * The jars of these artefacts (`group:artefact:version`), in a folder `jars/`, from Maven's repositories: with all that they need,
 * unless they are wanted `alone`.
 */
export function mavenJars(
  name: string,
  artefacts: readonly string[],
  { alone = false }: { alone?: boolean } = {},
): Promise<string> {
  const without = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>";
  return cachedPackage(name, async (folder) => {
    const dependencies = artefacts.map((artefact) => {
      const [group, id, version] = artefact.split(":");
      const named = `<groupId>${group}</groupId><artifactId>${id}</artifactId><version>${version}</version>`;
      return `<dependency>${named}${alone ? without : ""}</dependency>`;
    });
    await writeFile(
      join(folder, "pom.xml"),
      `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>millrace</groupId><artifactId>engine</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
${dependencies.join("\n")}
</dependencies>
</project>
`,
    );
    const command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"] as const;
    await runCommand(command, {
      cwd: folder,
      withinMs: FETCH_WITHIN_MS,
      next: "see that Maven (mvn) and a JDK of 17 or later are installed and reach a Maven repository",
    });
  });
}

/** A program of a Go module, compiled here. */
export function goProgram(name: string, path: string, version: string): Promise<string> {
  return cachedPackage(`${name}-${version}`, async (folder) => {
    await runCommand(["go", "install", `${path}@${version}`], {
      env: { ...process.env, GOBIN: folder },
      withinMs: FETCH_WITHIN_MS,
      next: "see that Go is installed and reaches a module proxy (go env GOPROXY)",
    });
  });
}
