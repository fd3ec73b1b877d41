package standin_test

import (
	"net/http"
	"testing"

	"github.com/penstock-io/penstock/test/standin"
)

func TestS3RefusesStrangersAndComesBack(t *testing.T) {
	s := standin.StartS3(t, "lake")
	for range 2 {
		resp, err := http.Get(s.Endpoint + "/lake")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Fatalf("an unsigned request got %s, want 403", resp.Status)
		}
		s.Stop()
		if _, err := http.Get(s.Endpoint + "/lake"); err == nil {
			t.Fatal("the stopped server answered")
		}
		s.Start()
	}
}
