"""
The fleet's silver job as one writes it in PySpark with Delta: cleanse, deduplicate, hourly metrics.

    python silver_job.py RAW_FOLDER OUT_FOLDER WARM_FOLDER JAR:JAR:…

Runs it once over a little data, so that the JVM has compiled what it will, then over all, and prints the seconds of each as JSON.
"""
import json
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

raw_folder, out_folder, warm_folder, jars = sys.argv[1:5]

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


def job(raw: str, out: str) -> dict:
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
    return {"silver": silver - started, "gold": ended - silver, "total": ended - started}


job(warm_folder, f"{out_folder}/warm")
timed = job(raw_folder, f"{out_folder}/all")
timed["rows"] = spark.read.format("delta").load(f"{out_folder}/all/silver").count()
timed["groups"] = spark.read.format("delta").load(f"{out_folder}/all/gold").count()
print(json.dumps(timed))
spark.stop()
