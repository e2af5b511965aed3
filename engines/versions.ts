/**
 * The exact version of every server and library that the engines are made of. A change here gives a new folder in the
 * cache; what an older version left there is not used again.
 */
export const VERSIONS = {
  /** Maven Central; 4.3.1 is the newest whose server and tools are all published there. */
  kafka: "4.3.1",
  /** Go module proxy. MinIO's releases are no semantic versions: this names its last public commit. */
  minio: "v0.0.0-20260212201848-7aac2a2c5b7c",
} as const;
