"""
The fleet's silver job as one writes it in PySpark with Delta: cleanse, deduplicate, hourly metrics.

    python silver_job.py JAR:JAR:…

Reads `RAW_FOLDER OUT_FOLDER` from each line of its input, runs the job, and answers with one line of JSON: the seconds of its parts, the seconds of CPU
that this process and its JVM took, and how many rows the tables have.
"""
import json
import os
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

jars = sys.argv[1]

spark = (
    SparkSession.builder.master("local[2]")
    .appName("silver")
    .config("spark.driver.memory", "1g")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.extraClassPath", jars)
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "4")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
java = spark._jvm.java.lang.ProcessHandle.current().pid()
ticks = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    def of(pid: int) -> float:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    return of(os.getpid()) + of(java)


def job(raw: str, out: str) -> dict:
    cpu = cpu_seconds()
    started = time.perf_counter()
    (
        spark.read.parquet(raw)
        .where(F.col("rpm").isNull() | F.col("rpm").between(0, 8000))
        .where(F.col("recorded_at") < F.col("received_at") + F.expr("interval 1 day"))
        .dropDuplicates(["vehicle_id", "recorded_at"])
        .withColumn("hour", F.date_trunc("hour", "recorded_at"))
        .withColumn("hard_brake", F.coalesce(F.col("acceleration_g") < -0.5, F.lit(False)))
        .withColumn("overheated", F.coalesce(F.col("coolant_c") > 120, F.lit(False)))
        .withColumn("day", F.to_date("recorded_at"))
        .write.format("delta")
        .partitionBy("day")
        .save(f"{out}/silver")
    )
    silver = time.perf_counter()
    (
        spark.read.format("delta")
        .load(f"{out}/silver")
        .groupBy("vehicle_id", "hour")
        .agg(
            F.avg("rpm").alias("average_rpm"),
            F.min("fuel_pct").alias("lowest_fuel_pct"),
            F.max("odometer_km").alias("highest_odometer_km"),
            F.count("*").alias("records"),
            F.count(F.when(F.col("hard_brake"), 1)).alias("hard_brakes"),
            F.count(F.when(F.col("overheated"), 1)).alias("overheated"),
        )
        .write.format("delta")
        .save(f"{out}/gold")
    )
    ended = time.perf_counter()
    return {
        "silver": silver - started,
        "gold": ended - silver,
        "total": ended - started,
        "cpu": cpu_seconds() - cpu,
    }


for line in sys.stdin:
    raw_folder, out_folder = line.split()
    timed = job(raw_folder, out_folder)
    timed["rows"] = spark.read.format("delta").load(f"{out_folder}/silver").count()
    timed["groups"] = spark.read.format("delta").load(f"{out_folder}/gold").count()
    print(json.dumps(timed), flush=True)
spark.stop()
