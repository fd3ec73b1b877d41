package collector

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Links of a request keep their order among themselves and come behind events, whether or
// not they are so many that they are moved several times.
func TestLinksKeepTheirOrder(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 300} { // bytes of an id
		pad := strings.Repeat("x", size)
		var body []string
		for i := range MaxRecords {
			body = append(body, ev(fmt.Sprintf(`,"$device_id":"d%d%s","$user_id":"u%d"`, i/2, pad, i/2)))
		}
		b := &book{}
		o := options(b)
		o.MaxBody = 4 << 20
		c := newCollector(t, o)
		for round := range 2 {
			says(t, send(c, post("/track", asJSON, "["+strings.Join(body, ",")+"]")), http.StatusOK, "1")
			var links []string
			events := 0
			for _, line := range b.taken() {
				if strings.Contains(line, " links ") {
					links = append(links, line)
				} else if events++; size == 1 && len(links) > 0 {
					t.Fatal("an event comes behind a link")
				}
			}
			if round == 1 { // a few links take the places of others, which are forgotten
				if len(links) > 50 {
					t.Errorf("%d links are logged again", len(links))
				}
				break
			}
			if events != MaxRecords || len(links) != MaxRecords/2 {
				t.Fatalf("%d events and %d links", events, len(links))
			}
			for i, line := range links {
				if want := fmt.Sprintf(`"anonymous_id":"$device:d%d%s","identified_id":"u%d"`, i, pad, i); !strings.Contains(line, want) {
					t.Fatalf("link %d is %s", i, line)
				}
			}
		}
	}
}
