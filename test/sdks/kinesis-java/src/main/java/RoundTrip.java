import java.net.URI;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.InvalidArgumentException;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;

/** Puts records with the asynchronous client (HTTP/2), reads them with the other (HTTP/1.1), both in CBOR: URL ACCESS_KEY SECRET COUNT. */
public class RoundTrip {
  public static void main(String[] args) throws Exception {
    URI url = URI.create(args[0]);
    var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create(args[1], args[2]));
    int count = Integer.parseInt(args[3]);
    Instant began = Instant.now().minusSeconds(60);
    try (KinesisAsyncClient writer =
            KinesisAsyncClient.builder().endpointOverride(url).region(Region.EU_WEST_1).credentialsProvider(credentials).build();
        KinesisClient reader =
            KinesisClient.builder().endpointOverride(url).region(Region.EU_WEST_1).credentialsProvider(credentials).build()) {
      for (int first = 0; first < count; first += 500) {
        List<PutRecordsRequestEntry> records = new ArrayList<>();
        for (int n = first; n < Math.min(count, first + 500); n++) {
          String data = "{\"id\":\"java-" + n + "\",\"vehicle\":\"v" + n % 7 + "\",\"speed\":" + n + "}";
          records.add(
              PutRecordsRequestEntry.builder().data(SdkBytes.fromUtf8String(data)).partitionKey("v" + n % 7).build());
        }
        var answer = writer.putRecords(put -> put.streamName("readings").records(records)).get();
        if (answer.failedRecordCount() != 0) throw new AssertionError(answer.toString());
      }
      try {
        reader.putRecord(
            put -> put.streamName("readings").data(SdkBytes.fromUtf8String("{\"id\":1}")).partitionKey("v0"));
        throw new AssertionError("a record that breaks the contract was taken");
      } catch (InvalidArgumentException refused) {
        if (!refused.getMessage().contains("EVENT_INVALID")) throw refused;
      }
      var summary = reader.describeStreamSummary(describe -> describe.streamName("readings"));
      Instant created = summary.streamDescriptionSummary().streamCreationTimestamp();
      if (created.isAfter(Instant.now()) || created.isBefore(Instant.now().minusSeconds(3600)))
        throw new AssertionError("created at " + created);
      List<String> found = new ArrayList<>();
      for (Shard shard : reader.listShards(list -> list.streamName("readings")).shards()) {
        String iterator =
            reader
                .getShardIterator(
                    get ->
                        get.streamName("readings")
                            .shardId(shard.shardId())
                            .shardIteratorType(ShardIteratorType.AT_TIMESTAMP)
                            .timestamp(began))
                .shardIterator();
        while (true) {
          String next = iterator;
          GetRecordsResponse answer = reader.getRecords(get -> get.shardIterator(next).limit(300));
          answer.records().forEach(record -> {
            String data = record.data().asUtf8String();
            Instant arrived = record.approximateArrivalTimestamp();
            if (arrived.isBefore(began) || arrived.isAfter(Instant.now().plusSeconds(60)))
              throw new AssertionError("arrived at " + arrived);
            if (data.contains("\"java-")) found.add("\"" + data.substring(7, data.indexOf('"', 7)) + "\"");
          });
          iterator = answer.nextShardIterator();
          if (answer.records().isEmpty() && answer.millisBehindLatest() == 0) break;
        }
      }
      System.out.println("[" + String.join(",", found) + "]");
    }
  }
}
