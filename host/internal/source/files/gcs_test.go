package files

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/test/standin"
)

// Objects at Google are found and read as those of any bucket; one that is put
// again is known by its generation, when nothing else tells it apart.
func TestGCSObjects(t *testing.T) {
	server := standin.StartGCS(t, "lake")
	t.Setenv("STORAGE_EMULATOR_HOST", server.Address)
	put := func(name, data string) { server.Put("lake", name, []byte(data)) }
	put("in/2026/a b+ü.ndjson", "{\"a\":1}\n{\"a\":2}\n")
	put("in/b.ndjson.gz", gz("{\"b\":1}\n"))
	put("in/c.ndjson.zst", zst("{\"c\":1}\n"))
	put("in/d.ndjson", "{\"d\":1}\n")
	put("in/other.txt", "no record")
	put("outside.ndjson", "no record")

	const address = "gs://lake/in/**/*.{ndjson,ndjson.gz,ndjson.zst}"
	first := readAll(t, address, nil, pieceSize)
	want := []string{`{"a":1}`, `{"a":2}`, `{"b":1}`, `{"c":1}`, `{"d":1}`}
	if diff := cmp.Diff(want, texts(first.records)); diff != "" || len(first.refused) > 0 {
		t.Errorf("records (-want +got), and %v refused:\n%s", first.refused, diff)
	}
	if again := readAll(t, address, first.last(), pieceSize); len(again.records)+len(again.refused) > 0 {
		t.Errorf("read again: %v %v", again.records, again.refused)
	}

	put("in/2026/a b+ü.ndjson", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n")
	put("in/d.ndjson", "{\"d\":2}\n")
	second := readAll(t, address, first.last(), pieceSize)
	if diff := cmp.Diff([]string{`{"a":3}`, `{"d":2}`}, texts(second.records)); diff != "" {
		t.Errorf("put again (-want +got):\n%s", diff)
	}
	if _, err := Open(t.Context(), Options{Name: "files.test", Pattern: "gs://lake/in/*?nonsense=1"}); err == nil {
		t.Error("an unknown parameter is taken")
	}
}
