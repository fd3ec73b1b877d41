package schema

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk/batch"
)

func TestALinkIsOneRow(t *testing.T) {
	for _, c := range []struct {
		link Link
		row  string
	}{
		{Link{"$device:D1", "U1", 1717200000, VerbLink}, `{"anonymous_id":"$device:D1","identified_id":"U1","time":1717200000,"verb":"link"}`},
		{Link{"", "", 0, VerbMerge}, `{"anonymous_id":"","identified_id":"","time":0,"verb":"merge"}`},
		{Link{"a\"b\\c\n\x01\x7f", "<é😀\u2028>", -5, VerbAlias}, `{"anonymous_id":"a\"b\\c\n\u0001` + "\x7f" + `","identified_id":"<é😀` + "\u2028" + `>","time":-5,"verb":"alias"}`},
		{Link{"\x00\xed\xa0\x80", "b", 1, VerbIdentify}, `{"anonymous_id":"\u0000\ud800","identified_id":"b","time":1,"verb":"identify"}`},
	} {
		row := AppendLink([]byte("before"), c.link)
		if got := string(row); got != "before"+c.row+"\n" {
			t.Errorf("the row of %+v is %s, want %s", c.link, got, c.row)
		}
		for _, line := range []string{c.row, c.row + "\n"} {
			if got, err := ParseLink([]byte(line)); err != nil || got != c.link {
				t.Errorf("%s is %+v, %v", line, got, err)
			}
		}
		if !json.Valid([]byte(c.row)) {
			t.Errorf("%s is not JSON", c.row)
		}
	}
}

func TestBytesThatAreNotTextBecomeText(t *testing.T) {
	// The last one is a pair of surrogates that is one character.
	for _, id := range []string{"\xff", "a\xc3", "\xed\xa0", "\xed\xa0\x80\xed\xb0\x80"} {
		row := AppendLink(nil, Link{AnonymousID: id, IdentifiedID: "U", Verb: VerbLink})
		got, err := ParseLink(row)
		if err != nil || !strings.Contains(got.AnonymousID, "\ufffd") {
			t.Errorf("%q became %s: %q, %v", id, row, got.AnonymousID, err)
		}
	}
}

func TestOnlyTheFormOfALinkIsRead(t *testing.T) {
	const row = `{"anonymous_id":"a","identified_id":"u","time":1,"verb":"link"}`
	if _, err := ParseLink([]byte(row)); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"", "\n", "{}", row + " ", row + "\n\n", " " + row, row[:len(row)-1],
		`{"identified_id":"u","anonymous_id":"a","time":1,"verb":"link"}`,
		strings.Replace(row, `"a"`, `null`, 1),
		strings.Replace(row, `"a"`, `"a`, 1),
		strings.Replace(row, `"a"`, "\"\xff\"", 1),
		strings.Replace(row, `"a"`, "\"\n\"", 1),
		strings.Replace(row, `"a"`, `"\x"`, 1),
		strings.Replace(row, `:1,`, `:,`, 1),
		strings.Replace(row, `:1,`, `:01,`, 1),
		strings.Replace(row, `:1,`, `:-0,`, 1),
		strings.Replace(row, `:1,`, `:1.5,`, 1),
		strings.Replace(row, `:1,`, `:9223372036854775808,`, 1),
		strings.Replace(row, `link`, `lin`, 1),
		strings.Replace(row, `link`, `links`, 1),
		strings.Replace(row, `,"verb"`, `, "verb"`, 1),
	} {
		if link, err := ParseLink([]byte(line)); err == nil {
			t.Errorf("%q is read as %+v", line, link)
		}
	}
}

func TestKeysOfLinks(t *testing.T) {
	link := Link{"ab", "c", 1, VerbMerge}
	again := link
	again.Time = 2
	if again.Key() != link.Key() {
		t.Error("a repeated link has another key at another time")
	}
	for _, other := range []Link{{"a", "bc", 1, VerbMerge}, {"c", "ab", 1, VerbMerge}, {"ab", "c", 1, VerbAlias}, {"ab", "", 1, VerbMerge}} {
		if other.Key() == link.Key() {
			t.Errorf("%+v and %+v have the same key", other, link)
		}
	}
}

func TestMappingsAreRowsOfTheExport(t *testing.T) {
	row := AppendMapping(nil, `$device:"1`, "U\x00")
	if want := `{"distinct_id":"$device:\"1","resolved_distinct_id":"U\u0000"}` + "\n"; string(row) != want {
		t.Errorf("the row is %s, want %s", row, want)
	}
	id, resolved, err := ParseMapping(row)
	if id != `$device:"1` || resolved != "U\x00" || err != nil {
		t.Errorf("it is read as %q, %q, %v", id, resolved, err)
	}
	if _, _, err := ParseMapping(bytes.Replace(row, []byte("resolved"), []byte("Resolved"), 1)); err == nil {
		t.Error("another key is read")
	}
	for want, texts := range map[batch.Flags][]string{
		0:                   {"a", "é"},
		batch.NUL:           {"a", "\x00"},
		batch.LoneSurrogate: {"\xed\xa0\x80", "b"},
	} {
		if got := TextFlags(100, texts...); got != want {
			t.Errorf("flags of %q are %b, want %b", texts, got, want)
		}
	}
	if got := TextFlags(longRow + 1); got != batch.LongRow {
		t.Errorf("flags of a long row are %b", got)
	}
}

func TestALinkIsReadWithTwoAllocations(t *testing.T) {
	row := AppendLink(nil, Link{"$device:2b7c1a52-7c0e-4f1e-9d5a-0f3f3c1b1a11", "user@example.com", 1717200000, VerbIdentify})
	room := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		link, err := ParseLink(row)
		if err != nil {
			t.Fatal(err)
		}
		_ = link.Key()
		room = AppendLink(room[:0], link)
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzLink(f *testing.F) {
	f.Add("$device:D1", "U1", int64(1717200000), byte(0), []byte(`{"anonymous_id":"a","identified_id":"u","time":1,"verb":"link"}`))
	f.Add("\xed\xa0\x80\xed\xb0\x80\xff", "\x00\"\\", int64(-1), byte(3), []byte(`{"anonymous_id":"\ud83d\ude00\/","identified_id":"\ud800","time":-7,"verb":"merge"}`))
	f.Fuzz(func(t *testing.T, anonymous, identified string, seconds int64, verb byte, line []byte) {
		link := Link{anonymous, identified, seconds, []LinkVerb{VerbLink, VerbIdentify, VerbAlias, VerbMerge}[verb%4]}
		row := AppendLink(nil, link)
		if !json.Valid(row) || bytes.IndexByte(row, '\n') != len(row)-1 {
			t.Fatalf("%+v is %q", link, row)
		}
		got, err := ParseLink(row)
		if err != nil {
			t.Fatalf("%q cannot be read: %v", row, err)
		}
		if validText(anonymous) && validText(identified) && got != link {
			t.Fatalf("%+v became %+v", link, got)
		}
		if again := AppendLink(nil, got); !bytes.Equal(again, row) {
			t.Fatalf("%q became %q", row, again)
		}
		// A link that was read is read the same after it was written.
		read, err := ParseLink(line)
		if err != nil {
			return
		}
		if !json.Valid(line) {
			t.Fatalf("%q is read and not JSON", line)
		}
		if again, err := ParseLink(AppendLink(nil, read)); err != nil || again != read {
			t.Fatalf("%q: %+v became %+v, %v", line, read, again, err)
		}
	})
}
