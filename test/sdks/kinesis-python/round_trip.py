"""Puts records with boto3 and reads them back: round_trip.py URL ACCESS_KEY SECRET COUNT. Prints what it read as JSON."""
import json
import sys

import boto3
from botocore.config import Config

url, access_key, secret, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
client = boto3.client(
    "kinesis",
    endpoint_url=url,
    region_name="eu-west-1",
    aws_access_key_id=access_key,
    aws_secret_access_key=secret,
    config=Config(retries={"max_attempts": 5, "mode": "standard"}),
)


def reading(n):
    return json.dumps({"id": f"python-{n}", "vehicle": f"v{n % 7}", "speed": n})


for first in range(0, count, 500):
    records = [{"Data": reading(n), "PartitionKey": f"v{n % 7}"} for n in range(first, min(count, first + 500))]
    answer = client.put_records(StreamName="readings", Records=records)
    assert answer["FailedRecordCount"] == 0, answer
one = client.put_record(StreamName="readings", Data=reading(count), PartitionKey="v0")
try:
    client.put_record(StreamName="readings", Data=b'{"id":1}', PartitionKey="v0")
    raise SystemExit("a record that breaks the contract was taken")
except client.exceptions.InvalidArgumentException as refused:
    assert "EVENT_INVALID" in str(refused), refused

summary = client.describe_stream_summary(StreamName="readings")["StreamDescriptionSummary"]
shards = client.list_shards(StreamName="readings")["Shards"]
assert summary["OpenShardCount"] == len(shards), summary
found, last = [], None
for shard in shards:
    start = {"StreamName": "readings", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = client.get_shard_iterator(**start)["ShardIterator"]
    while True:
        answer = client.get_records(ShardIterator=iterator, Limit=300)
        for record in answer["Records"]:
            event = json.loads(record["Data"])
            if event["id"].startswith("python-"):
                assert record["PartitionKey"] == event["vehicle"], record
                found.append(event["id"])
                if event["id"] == f"python-{count}":
                    last = (shard["ShardId"], record["SequenceNumber"])
        iterator = answer["NextShardIterator"]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            break
assert last == (one["ShardId"], one["SequenceNumber"]), (last, one)
print(json.dumps(found))
