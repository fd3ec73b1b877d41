package collector

import (
	"encoding/base64"
	"strings"
	"testing"
)

// mixpanel-browser encodes each surrogate by itself, and cuts strings between
// the two.
func TestSurrogatesInBase64(t *testing.T) {
	t.Parallel()
	const mountain = "\xed\xa0\xbc\xed\xbf\x94" // U+1F3D4 as two surrogates
	for sent, want := range map[string]string{
		`{"a":"` + mountain + `"}`:                        `{"a":"🏔"}`,
		`{"a":"x` + mountain + mountain + `é한"}`:          `{"a":"x🏔🏔é한"}`,
		`{"a":"` + mountain[:3] + `"}`:                    `{"a":"` + "\ufffd" + `"}`,
		`{"a":"` + mountain[3:] + mountain + `"}`:         `{"a":"` + "\ufffd🏔" + `"}`,
		`{"a":"` + mountain[:3] + mountain + `"}`:         `{"a":"` + "\ufffd🏔" + `"}`,
		`{"a":"퟿ 한국 🏔"}`:                                  `{"a":"퟿ 한국 🏔"}`,
		`{"a":"` + mountain[:2] + `"}`:                    `{"a":"` + mountain[:2] + `"}`,
		`{"a":1}` + mountain[:1]:                          `{"a":1}` + mountain[:1],
		`{"` + mountain + `":"` + mountain + `","b":[1]}`: `{"🏔":"🏔","b":[1]}`,
	} {
		p := parameters{data: []byte(base64.StdEncoding.EncodeToString([]byte(sent)))}
		if got, ok := p.records(); !ok || string(got) != want {
			t.Errorf("%q becomes %q, want %q", sent, got, want)
		}
	}
}

// Strings that a client has cut in half of a character are repaired, and
// counted.
func TestHalfCharactersAreRepaired(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	send(c, post("/track", "application/json", `[{"event":"\ud83d","properties":{"token":"shop-token","$device_id":"d\ud83d","$user_id":"u"}},{"event":"\ud83d\ude00","properties":{"token":"shop-token","distinct_id":"u"}}]`))
	send(c, post("/engage", "application/json", `{"$token":"shop-token","$distinct_id":"\ud83d","$set":{"a":"\ud83d"}}`))
	lines := b.taken()
	for _, line := range lines {
		if strings.Contains(line, `\ud83d`) != strings.Contains(line, `\ud83d\ude00`) {
			t.Errorf("not repaired: %s", line)
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d rows, want 2 events, 1 link and 1 operation:\n%s", len(lines), strings.Join(lines, ""))
	}
	repaired := map[string]int64{}
	for _, n := range c.Counts() {
		if n.Outcome == Repaired {
			repaired[n.Endpoint] = n.Records
		}
	}
	if repaired["track"] != 1 || repaired["engage"] != 1 {
		t.Errorf("repaired %v", repaired)
	}
}
