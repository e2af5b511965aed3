import com.segment.analytics.Analytics;
import com.segment.analytics.Callback;
import com.segment.analytics.messages.*;
import java.util.Date;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Sends messages of every type, and a number of events, with Segment's library for Java. */
public class Send {
  public static void main(String[] args) throws Exception {
    String url = args[0], writeKey = args[1], run = args[2];
    int count = Integer.parseInt(args[3]);
    AtomicInteger delivered = new AtomicInteger();
    AtomicInteger failed = new AtomicInteger();
    Analytics analytics =
        Analytics.builder(writeKey)
            .endpoint(url)
            .flushQueueSize(10)
            .flushInterval(1, TimeUnit.SECONDS)
            .retries(10)
            .callback(
                new Callback() {
                  public void success(Message message) {
                    delivered.incrementAndGet();
                  }

                  public void failure(Message message, Throwable error) {
                    System.err.println(error);
                    failed.incrementAndGet();
                  }
                })
            .build();
    String user = run + "-1";
    analytics.enqueue(IdentifyMessage.builder().userId(user).traits(Map.of("email", "a@b.example")));
    analytics.enqueue(
        TrackMessage.builder("Signed Up").userId(user).timestamp(new Date(1577836800000L)).properties(Map.of("plan", "pro")));
    analytics.enqueue(PageMessage.builder("Home").userId(user).properties(Map.of("url", "https://x.example/?q=ü")));
    analytics.enqueue(ScreenMessage.builder("Inbox").userId(user));
    analytics.enqueue(GroupMessage.builder("g1").userId(user).traits(Map.of("name", "Initech")));
    analytics.enqueue(AliasMessage.builder(run + "-0").userId(user));
    for (int n = 0; n < count; n++) {
      analytics.enqueue(TrackMessage.builder("Event " + n).userId(user).properties(Map.of("n", n)));
    }
    analytics.flush();
    for (int i = 0; i < 1800 && delivered.get() + failed.get() < count + 6; i++) Thread.sleep(100);
    analytics.shutdown();
    if (delivered.get() != count + 6) {
      System.err.println(delivered.get() + " delivered, " + failed.get() + " failed");
      System.exit(1);
    }
    System.exit(0);
  }
}
