package clients

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
)

// recorded is a request as one of the official clients sends it, from
// testdata/requests: its head, its records, and how they are packed into its
// body. Times, the host and lengths are filled in.
type recorded struct {
	name    string
	request []byte // all of its bytes
	path    string
	records []json.RawMessage
}

func (s *shop) record(file string) recorded {
	t := s.t
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".txt")
	_, rest, ok1 := strings.Cut(string(text), "-- head --\n")
	head, rest, ok2 := strings.Cut(rest, "-- data --\n")
	data, body, ok3 := strings.Cut(rest, "-- body --\n")
	if !ok1 || !ok2 || !ok3 {
		t.Fatalf("%s has not its three parts", file)
	}
	values := template.FuncMap{
		"host": func() string { return s.address }, "project": func() string { return shopID },
		"shop": func() string { return shopToken }, "club": func() string { return clubToken },
		"secret": func() string { return apiSecret }, "account": func() string { return username + ":" + password },
		"seconds": func(ago int64) int64 { return s.began.Unix() - ago },
		"ms":      func(ago int64) int64 { return s.began.UnixMilli() - ago*1000 },
		"float":   func(ago int64) string { return fmt.Sprintf("%d.4375", s.began.Unix()-ago) },
		"basic":   func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) },
		"base64":  func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) },
		"escape":  url.QueryEscape,
		"uri":     url.QueryEscape, // Android's does the same to base64
		"gzip":    zip,
	}
	render := func(part string) string {
		parsed, err := template.New(name).Funcs(values).Parse(part)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := parsed.Execute(&b, nil); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(b.String(), "\n")
	}

	data = render(data)
	if strings.HasPrefix(data, "[") {
		// Lines are for those who read the file.
		data = strings.ReplaceAll(data, "\n", "")
	}
	values["data"] = func() string { return data }
	body = render(body)
	values["length"] = func() int { return len(body) }
	head = strings.ReplaceAll(render(head), "\n", "\r\n") + "\r\n\r\n"
	target := strings.Fields(head)[1]
	path, _, _ := strings.Cut(strings.Trim(target, "/"), "?")
	return recorded{name, []byte(head + body), strings.Trim(path, "/"), split(t, []byte(data))}
}

func zip(text string) (string, error) {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	if err == nil {
		err = z.Close()
	}
	return b.String(), err
}

// replay sends the bytes and returns the answer.
func (r recorded) replay(t *testing.T, address string) (status int, body []byte) {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(r.request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		body, err = io.ReadAll(response.Body)
	}
	if err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	return response.StatusCode, body
}

// Each client's own idea of success.
var judges = map[string]func(path string, status int, body []byte) bool{
	"python": func(_ string, _ int, body []byte) bool { return statusIsOne(body) },
	"ruby":   func(_ string, status int, body []byte) bool { return status == 200 && statusIsOne(body) },
	"go": func(path string, status int, body []byte) bool {
		switch path {
		case "track":
			return status == 200 && statusIsOne(body) || string(body) == "1"
		case "import":
			return status == 200 && (imported(body) || string(body) == "1")
		}
		n, err := strconv.Atoi(string(body))
		return status == 200 && err == nil && n == 1
	},
	"java": func(path string, status int, body []byte) bool {
		return status < 400 && (string(body) == "1" || path == "import" && imported(body))
	},
	"swift": func(_ string, status int, body []byte) bool {
		n, err := strconv.Atoi(string(body))
		return status == 200 && err == nil && n != 0
	},
	"android": func(_ string, status int, body []byte) bool {
		return status >= 200 && status < 300 && (string(body) == "1" || statusIsOne(body))
	},
	"php": func(_ string, _ int, body []byte) bool { return string(bytes.TrimSpace(body)) == "1" },
	"utils": func(path string, status int, body []byte) bool {
		return status == 200 && (path == "import" && imported(body) || path == "engage" && statusIsOne(body))
	},
	"import": func(_ string, status int, body []byte) bool { return status == 200 && imported(body) },
}

func statusIsOne(body []byte) bool {
	var answer struct{ Status int }
	return json.Unmarshal(body, &answer) == nil && answer.Status == 1
}

func imported(body []byte) bool {
	var answer struct {
		Code     int
		Status   string
		Imported int `json:"num_records_imported"`
	}
	return json.Unmarshal(body, &answer) == nil && answer.Code == 200 && answer.Status == "OK" && answer.Imported > 0
}

// identified reports whether a record can be told from all others: then it may be
// sent again.
func identified(record json.RawMessage) bool {
	return bytes.Contains(record, []byte(`"$insert_id"`)) || bytes.Contains(record, []byte(`"$mp_event_id"`))
}

// The other clients' requests, byte by byte: each client takes the answer
// for a success, and its records are exported once, though records with an id are
// sent twice.
func TestRecordedRequests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/requests/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	s := newShop(t, "http://localhost:1")
	s.export("shop", "people")
	s.export("shop", "identity")
	s.export("club", "identity")
	h := s.serve()
	sent := map[string][]string{}
	for _, file := range files {
		r := s.record(file)
		client, _, _ := strings.Cut(r.name, "-")
		isEvents := r.path == "track" || r.path == "import"
		times := 1
		if isEvents && !slices.ContainsFunc(r.records, func(record json.RawMessage) bool { return !identified(record) }) {
			times = 2
		}
		for range times {
			status, body := r.replay(t, s.address)
			if !judges[client](r.path, status, body) {
				t.Errorf("%s: the client is not content with %d %s", r.name, status, body)
			}
		}
		for _, record := range r.records {
			if !isEvents {
				continue
			}
			e := parseEvent(t, record)
			e.imported = r.path == "import"
			token := textOf(e.properties["token"])
			sent[token] = append(sent[token], e.row(token != clubToken))
		}
	}
	s.finish(h)
	shop := slices.Sorted(slices.Values(slices.Concat(sent[shopToken], sent[""])))
	club := slices.Sorted(slices.Values(sent[clubToken]))
	same(t, "shop", s.events(shopID), shop)
	same(t, "club", s.events(clubID), club)
	same(t, "people", s.people(shopID), s.profiles(map[string]string{
		"python-ada":  `{"$name":"Ada 🏔","logins":42,"pages":["about"],"$last_seen":"seen"}`,
		"ruby-ada":    `{"again":true,"$last_seen":"seen"}`,
		"go-ada":      `{"$email":"ada@example.com","n":5,"tags":["a","a"],"$last_seen":"seen"}`,
		"java-ada":    `{"$name":"Ada","path":"a/b","n":2,"l":["x","z"],"$last_seen":"seen"}`,
		"swift-ada":   `{"$ios_devices":"x/y","n":1,"l":[[1]],"$last_seen":"seen"}`,
		"android-ada": `{"$android_app_version":"1.0","path":"a/b","l":["x"],"once":1,"n":2.5,"$last_seen":"seen"}`,
		"php-ada":     `{"$name":"Zü","path":"a/b","l":[["x","y"]],"$last_seen":"seen"}`,
		"utils-ada":   `{"a":1,"b":[1,{"c":null}]}`,
	}))
	same(t, "identity of the shop", s.mappings(shopID), []string{
		"$device:7F0C9F5E-3D0C-4C55-8B9A-0F6C2C6E5A01 is swift-ada", "$device:c1f7a2d0-7a6b-4d51-a7c2-6b0a4f0e9d11 is android-ada",
	})
	same(t, "identity of the club", s.mappings(clubID), []string{
		"go-ada@example.com is go-ada", "go-grace is go-ada", "python-ada@example.com is python-ada", "python-grace is python-ada",
	})
	t.Logf("%d requests, %d and %d events", len(files), len(shop), len(club))
}
