package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// While the host is killed and stopped again and again, pages go on. They send
// to the gateway that they came from, which answers 502 while the host is down, and
// once before each SIGKILL loses an answer: records that were taken are sent again.
func TestBrowserRestarts(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	s := newShop(t, "http://localhost:1")
	s.relay.pages = pages(t)
	h := s.serve()
	gateway := "http://" + s.relay.address
	b.visit("shop", gateway, gateway, soon)
	b.run("shop", `
		window.tracked = 0;
		window.timer = setInterval(() => mixpanel.track('tick', {n: window.tracked++, text: '🏔'}), 20);`)
	arrived := func() int { return len(s.relay.events(t, shopToken)) }
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		goal := arrived() + 50
		h.Until("events arrive", func() bool { return arrived() >= goal })
		if signal == syscall.SIGKILL {
			s.relay.loseOne(t)
		}
		before := len(s.relay.all())
		status := h.Stop(signal)
		if signal == syscall.SIGTERM && status.ExitStatus() != 0 {
			t.Fatalf("it ended with %v:\n%s", status, h.Said())
		}
		s.relay.await(t, "the page is told that there is no host", before, func(e exchange) bool { return e.status == http.StatusBadGateway })
		h = s.serve()
	}
	var tracked int
	if err := json.Unmarshal(b.run("shop", `clearInterval(timer); return tracked`), &tracked); err != nil {
		t.Fatal(err)
	}
	s.arrive(h, tracked)
	s.finish(h)
	same(t, "events", s.events(shopID), s.relay.events(t, shopToken))
	t.Logf("%d events", tracked)
}

// While the host is killed and stopped again and again, an application that
// sends until the client is content loses nothing, and with insert ids of its
// own nothing is there twice.
func TestNodeRestarts(t *testing.T) {
	t.Parallel()
	s := newShop(t, "http://localhost:1")
	h := s.serve()
	sc := script{Token: shopToken, Config: object{"protocol": "http", "host": s.address}, Retry: true}
	const calls, size = 200, 5
	for n := range calls {
		batch := list(fmt.Sprint("batch ", n), size, time.Now().UnixMilli())
		for i, e := range batch {
			e.(object)["properties"].(object)["$insert_id"] = fmt.Sprintf("id-%d-%d", n, i)
		}
		sc.Calls = append(sc.Calls, []any{"track_batch", batch})
	}
	content(t, sc, drive(t, sc, func(n int) {
		if n%40 != 0 || n == calls {
			return
		}
		// The client goes on while the host is down.
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[n/40%2]
		if status := h.Stop(signal); signal == syscall.SIGTERM && status.ExitStatus() != 0 {
			t.Errorf("it ended with %v:\n%s", status, h.Said())
		}
		h = s.serve()
	}))
	s.finish(h)
	var want []string
	for _, c := range sc.Calls {
		for _, e := range c[1].([]any) {
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, identify(parseEvent(t, text).row(true)))
		}
	}
	slices.Sort(want)
	var got []string
	for _, row := range s.events(shopID) {
		got = append(got, identify(row))
	}
	same(t, "events", got, want)
}

// identify is the first line of a described row: all that is not properties.
func identify(row string) string {
	first, _, _ := strings.Cut(row, "\n")
	return first
}
