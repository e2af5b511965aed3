/** A project and the settings it is run with: each needs some of the other. */
import { type ResolvedSettings, resolveSettings } from "../config/settings.ts";
import { loadProject } from "../define/load-project.ts";
import type { Project } from "../define/project.ts";
import { openDuckdbInspector } from "../engine/duckdb-inspector.ts";
import { type GeoDatabase, openGeoDatabase } from "../engine/geo-database.ts";
import { sparkExamination } from "./spark.ts";

export interface Loaded {
  readonly project: Project;
  readonly resolved: ResolvedSettings;
  readonly geo: GeoDatabase | undefined;
}

/** @throws PROJECT_NOT_FOUND, PROJECT_INVALID, SETTING_INVALID, SETTING_UNKNOWN */
export async function loadWithSettings(
  projectDir: string,
  flags: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Loaded> {
  const inspector = await openDuckdbInspector();
  let geo: GeoDatabase | undefined;
  const spark = sparkExamination(
    (ofProject, dir) => resolveSettings({ flags, env, project: ofProject, projectDir: dir }).settings,
    inspector,
  );
  const project = await loadProject(projectDir, inspector, {
    examine: spark.examine,
    horizonMs: (ofProject) => resolveSettings({ flags, env, project: ofProject }).settings.horizonMs,
    configured: async (ofProject, dir) => {
      const { geoDatabase } = resolveSettings({ flags, env, project: ofProject, projectDir: dir }).settings;
      if (geoDatabase === undefined) return;
      geo = await openGeoDatabase(geoDatabase);
      inspector.locateBy(geo);
    },
  }).finally(async () => {
    await spark.close();
    inspector.close();
  });
  return {
    project,
    resolved: resolveSettings({ flags, env, project: project.settings, projectDir: project.dir }),
    geo,
  };
}
