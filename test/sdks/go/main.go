// Sends messages of every type, and a number of events, with Segment's library for Go.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/segmentio/analytics-go/v3"
)

type outcome struct{ told chan error }

func (o *outcome) Success(analytics.Message)                    { o.told <- nil }
func (o *outcome) Failure(message analytics.Message, err error) { o.told <- err }

func main() {
	url, writeKey, run := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.Atoi(os.Args[4])
	must(err)
	told := &outcome{make(chan error, count+6)}
	client, err := analytics.NewWithConfig(writeKey, analytics.Config{
		Endpoint:   url,
		BatchSize:  10,
		Interval:   200 * time.Millisecond,
		Callback:   told,
		RetryAfter: func(attempt int) time.Duration { return 500 * time.Millisecond },
	})
	must(err)
	user := run + "-1"
	must(client.Enqueue(analytics.Identify{UserId: user, Traits: analytics.NewTraits().SetEmail("a@b.example")}))
	must(client.Enqueue(analytics.Track{UserId: user, Event: "Signed Up", Timestamp: time.Unix(1577836800, 123456789),
		Properties: analytics.NewProperties().Set("plan", "pro")}))
	must(client.Enqueue(analytics.Page{UserId: user, Name: "Home", Properties: analytics.NewProperties().SetURL("https://x.example/?q=ü"),
		Context: &analytics.Context{Locale: "de"}}))
	must(client.Enqueue(analytics.Screen{UserId: user, Name: "Inbox"}))
	must(client.Enqueue(analytics.Group{UserId: user, GroupId: "g1", Traits: analytics.NewTraits().SetName("Initech")}))
	must(client.Enqueue(analytics.Alias{UserId: user, PreviousId: run + "-0"}))
	for n := 0; n < count; n++ {
		must(client.Enqueue(analytics.Track{UserId: user, Event: fmt.Sprintf("Event %d", n),
			Properties: analytics.NewProperties().Set("n", n)}))
	}
	// Close gives up what is to be sent again, so all must be delivered before.
	for n := 0; n < count+6; n++ {
		must(<-told.told)
	}
	must(client.Close())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
