package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// engager is a client that appends numbers to a list of its own profile, one
// after the other.
type engager struct {
	id    string
	next  int
	acked []int
}

// engage sends numbers until the host is gone.
func (e *engager) engage(client *http.Client, address string, acked *atomic.Int64) {
	for {
		e.next++
		body := fmt.Sprintf(`[{"$token":"tok-7c1d","$distinct_id":%q,"$append":{"seen":%d}},{"$token":"tok-7c1d","$distinct_id":%q,"$add":{"sum":%d}}]`,
			e.id, e.next, e.id, e.next)
		answer, err := client.Post("http://"+address+"/engage?verbose=1", "application/json", strings.NewReader(body))
		if err != nil {
			return
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(text), `"status":1`) {
			return
		}
		e.acked = append(e.acked, e.next)
		acked.Add(1)
	}
}

// listening is where a serving host's collector listens.
func (s *site) listening(h *penstocktest.Host) string {
	s.t.Helper()
	var status struct {
		Collectors []struct {
			Listening bool
			Listen    string
		}
	}
	h.Until("the collector listens", func() bool {
		r := s.Penstock(nil, "status", "--json")
		return json.Unmarshal([]byte(r.Out), &status) == nil && len(status.Collectors) == 1 && status.Collectors[0].Listening
	})
	return status.Collectors[0].Listen
}

// Clients send operations while the host is killed again and again, at any
// instant. Each operation that was acknowledged is applied once, in its order;
// one whose answer was lost, once or not at all.
func TestAcknowledgedOperationsAreAppliedOnce(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	s.Append("penstock.hcl", `
source "collector" "web" {
  project = "shop"
  listen  = "127.0.0.1:0"
}
`)
	clients := make([]*engager, 4)
	for i := range clients {
		clients[i] = &engager{id: fmt.Sprintf("client-%d", i)}
	}
	for round := range 4 {
		h := s.Serve()
		address := s.listening(h)
		transport := &http.Transport{}
		var acked atomic.Int64
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() { c.engage(&http.Client{Transport: transport, Timeout: 30 * time.Second}, address, &acked) })
		}
		h.Until("some operations are acknowledged", func() bool { return acked.Load() > int64(60+90*round) })
		if round == 2 {
			// A seal and an export between the operations make no difference.
			s.Penstock(nil, "pipelines", "run", "people_out")
		}
		h.Stop(syscall.SIGKILL)
		wg.Wait()
		transport.CloseIdleConnections()
	}
	s.Once()
	people := s.people("out")
	for _, c := range clients {
		list, _ := people[c.id]["seen"].([]any)
		sum := 0
		seen := make([]int, len(list))
		for i, v := range list {
			n, _ := v.(float64)
			seen[i] = int(n)
			sum += int(n)
		}
		if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
			t.Errorf("%s: %v is not in order, or holds something twice", c.id, seen)
		}
		for _, n := range c.acked {
			if !slices.Contains(seen, n) {
				t.Errorf("%s: %d was acknowledged and is missing", c.id, n)
			}
		}
		if lost := len(seen) - len(c.acked); lost < 0 || lost > 4 {
			t.Errorf("%s: %d operations for %d that were acknowledged", c.id, len(seen), len(c.acked))
		}
		if got, _ := people[c.id]["sum"].(float64); int(got) != sum {
			t.Errorf("%s: the sum is %v, want %d: of one request only a part is there", c.id, got, sum)
		}
	}
	checkNothingMore(t, s)
}
