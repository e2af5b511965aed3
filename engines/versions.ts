/**
 * The exact version of every server and library that the engines are made of. A change here gives a new folder in the
 * cache; what an older version left there is not used again. PostgreSQL is the one that package.json brings.
 */
export const VERSIONS = {
  /** Maven; 4.3.1 is the newest whose server and tools are all published there. */
  kafka: "4.3.1",
  /** The binding that has Kafka's log lines written: it has to fit the slf4j-api that this Kafka brings. */
  slf4j: "1.7.36",
  /** Go module proxy. MinIO's releases are no semantic versions: this names its last public commit. */
  minio: "v0.0.0-20260212201848-7aac2a2c5b7c",
  /** PyPI: brings Spark itself. The newest that a Delta is published for. */
  pyspark: "4.2.0",
  /** PyPI for Python's part, Maven for the jars. */
  delta: "4.4.0",
  /** Maven: the client of S3, of the same version as the Hadoop that pyspark brings. */
  hadoopAws: "3.5.0",
  /** PyPI: everything that pyspark[connect] and delta-spark need, so that two machines get the same. */
  pythonPackages: [
    "googleapis-common-protos==1.76.0",
    "grpcio==1.85.1",
    "grpcio-status==1.85.1",
    "importlib_metadata==8.7.1",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "protobuf==7.36.2",
    "py4j==0.10.9.9",
    "pyarrow==26.0.1",
    "python-dateutil==2.9.0.post0",
    "pytz==2025.2",
    "six==1.17.0",
    "typing_extensions==4.16.0",
    "tzdata==2026.6",
    "zipp==4.1.2",
    "zstandard==0.25.0",
  ],
} as const;
