package collector

import (
	"encoding/base64"
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
