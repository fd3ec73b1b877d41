package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is the input of node/drive.js.
type script struct {
	Token          string         `json:"token"`
	Config         map[string]any `json:"config"`
	ServiceAccount []string       `json:"serviceAccount,omitempty"`
	// Retry makes each call again until the client is content.
	Retry bool    `json:"retry,omitempty"`
	Calls [][]any `json:"calls"`
}

// drive makes calls with Mixpanel's client for Node.js and returns the errors that
// it reports, "" for success. after is called after each call.
func drive(t *testing.T, sc script, after func(n int), env ...string) []string {
	t.Helper()
	input, err := json.Marshal(sc)
	if err != nil {
		t.Fatal(err)
	}
	command := node(t, "node/drive.js")
	command.Env = append(command.Env, env...)
	command.Stdin = bytes.NewReader(input)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	guard := time.AfterFunc(2*time.Minute, func() { _ = command.Process.Kill() })
	defer guard.Stop()
	var answers []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var answer struct{ Error string }
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		answers = append(answers, answer.Error)
		if after != nil {
			after(len(answers))
		}
	}
	if err := command.Wait(); err != nil || len(answers) != len(sc.Calls) {
		t.Fatalf("node: %v after %d of %d calls\n%s", err, len(answers), len(sc.Calls), complaints.String())
	}
	return answers
}

// content fails the test when the client was not.
func content(t *testing.T, sc script, answers []string) {
	t.Helper()
	for i, problem := range answers {
		if problem != "" {
			t.Errorf("%v: the client says %q", sc.Calls[i][0], problem)
		}
	}
}

type object = map[string]any

// date is a Date for node/drive.js.
func date(at time.Time) object { return object{"$date": at.UnixMilli()} }

// wide are properties of every kind.
func wide(n int) object {
	return object{
		"distinct_id": fmt.Sprintf("user-%d", n%7), "n": n,
		"text": "Zürich 🏔 \"<&>\" \\ / \u2028 \t", "plus": "a+b c%2B=&d", "empty": "",
		"numbers": []any{0, -1, 1.5, 1e21, 9007199254740991, 1e-7}, "list": []any{"a", []any{}, nil, true},
		"object": object{"a": object{"b": object{}}}, "null": nil, "yes": true, "$city": "Genève",
		"long": strings.Repeat("x", 255), "ip": "198.51.100.7",
	}
}

func extend(properties object, more ...any) object {
	for i := 0; i < len(more); i += 2 {
		properties[more[i].(string)] = more[i+1]
	}
	return properties
}

// list is a list of events for track_batch and import_batch.
func list(name string, count int, at any) []any {
	var all []any
	for n := range count {
		properties := wide(n)
		if at != nil {
			properties["time"] = at
		}
		all = append(all, object{"event": name, "properties": properties})
	}
	return all
}

// Everything that Mixpanel's client for Node.js can send arrives, and the
// client believes so.
func TestNode(t *testing.T) {
	t.Parallel()
	s := newShop(t, "http://localhost:1")
	s.export("shop", "people")
	s.export("shop", "identity")
	s.export("club", "identity")
	h := s.serve()
	now, old := time.Now(), time.Now().AddDate(0, 0, -30)
	plainHTTP := func(more ...any) object {
		return extend(object{"protocol": "http", "host": s.relay.address}, more...)
	}

	calls := [][]any{
		{"track", "no properties"},
		{"track", "Ünïcode 🏔", wide(1)},
		{"track", "with a Date", extend(wide(2), "time", date(now.Add(-time.Hour)))},
		{"track", "with milliseconds", extend(wide(3), "time", now.Add(-time.Minute).UnixMilli())},
		{"track", "with seconds", extend(wide(4), "time", now.Add(-time.Minute).Unix())},
		{"track", "with an insert id", extend(wide(5), "$insert_id", "5f1e-aa", "time", now.UnixMilli())},
		{"track", "of a device", object{"$device_id": "d-1", "n": 6}},
		{"track", "of a device and a user", object{"$device_id": "d-1", "$user_id": "ada", "n": 7}},
		{"track", "of an anonymous id", object{"distinct_id": "$device:d-2", "n": 8}},
		{"track", "a long one", extend(wide(9), "more", strings.Repeat("0123456789abcdef", 15), "list", strings.Split(strings.Repeat("élan,", 200), ","))},
		{"track_batch", list("batch", 120, nil)},
		{"track_batch", list("batch with times", 50, date(now.Add(-2*time.Hour))), object{"max_batch_size": 20}},
		{"track_batch", list("batch of one", 1, now.Add(-time.Minute).Unix())},
		{"alias", "ada", "ada@example.com"},
		{"groups.set", "company", "acme", "$name", "Acme 🏔"},
		{"groups.set_once", "company", "acme", object{"founded": 1949}},
		{"groups.union", "company", "acme", object{"products": []any{"anvil", "rocket"}}},
		{"groups.remove", "company", "acme", object{"products": "anvil"}},
		{"groups.unset", "company", "acme", "founded"},
		{"groups.delete_group", "company", "acme"},
	}
	calls = append(calls, peopleCalls...)
	for _, verbose := range []bool{false, true} {
		sc := script{Token: shopToken, Config: plainHTTP("verbose", verbose), Calls: calls}
		if verbose {
			sc.Calls = calls[:len(calls)-len(peopleCalls)]
		}
		content(t, sc, drive(t, sc, nil))
	}

	imports := script{Token: shopToken, Config: plainHTTP("key", shopToken), Calls: [][]any{
		{"import", "imported", date(old), wide(20)},
		{"import", "imported with seconds", old.Unix(), wide(21)},
		{"import_batch", list("imported batch", 120, date(old))},
		{"import_batch", list("imported with care", 60, old.UnixMilli()), object{"max_batch_size": 20, "max_concurrent_requests": 2}},
	}}
	content(t, imports, drive(t, imports, nil))

	club := script{Token: clubToken, Config: plainHTTP("geolocate", true), Calls: [][]any{
		{"track", "of somebody", object{"distinct_id": "6d0cf0a3-3ba1-4a43-8b4f-6a6b7f3d9e11", "n": 1}},
		{"track", "$identify", object{"$identified_id": "grace", "$anon_id": "6d0cf0a3-3ba1-4a43-8b4f-6a6b7f3d9e11"}},
		{"alias", "grace", "grace@example.com"},
		{"track", "of grace", object{"distinct_id": "grace@example.com", "n": 2}},
	}}
	content(t, club, drive(t, club, nil))

	for name, sc := range map[string]script{
		"a wrong key":           {Token: shopToken, Config: plainHTTP("key", "wrong"), Calls: [][]any{{"import", "refused", date(old), object{}}}},
		"an event without time": {Token: shopToken, Config: plainHTTP("verbose", true), Calls: [][]any{{"people.set", "", object{"a": 1}}}},
	} {
		if answers := drive(t, sc, nil); answers[0] == "" {
			t.Errorf("%s: the client is content", name)
		}
	}

	if n := s.counted("groups"); n != 2*6 {
		t.Errorf("%d operations on groups were counted, want 12", n)
	}
	s.finish(h)
	for id, token := range map[string]string{shopID: shopToken, clubID: clubToken} {
		sent := s.relay.events(t, token)
		same(t, "project "+id, s.events(id), sent)
		t.Logf("project %s: %d events", id, len(sent))
	}
	same(t, "people", s.people(shopID), s.profiles(peopleOfCalls))
	same(t, "identity of the shop", s.mappings(shopID), []string{"$device:d-1 is ada"})
	same(t, "identity of the club", s.mappings(clubID), []string{"6d0cf0a3-3ba1-4a43-8b4f-6a6b7f3d9e11 is grace", "grace@example.com is grace"})
}

// Over TLS the client sends secrets as it does to Mixpanel.
func TestNodeTLS(t *testing.T) {
	t.Parallel()
	s := newShop(t, "http://localhost:1")
	h := s.serve()
	old := time.Now().AddDate(0, 0, -20)
	config := func(more ...any) object { return extend(object{"host": s.secure}, more...) }
	trusted := "NODE_EXTRA_CA_CERTS=" + filepath.Join(s.Dir, "cert.pem")
	for i, sc := range []script{
		{Config: config(), ServiceAccount: []string{username, password, shopID}},
		{Config: config("secret", apiSecret)},
		{Config: config("secret", shopToken)},
	} {
		sc.Token = shopToken
		sc.Calls = [][]any{
			{"import", fmt.Sprint("import ", i), date(old), wide(i)},
			{"import_batch", list(fmt.Sprint("batch ", i), 60, date(old))},
			{"track", fmt.Sprint("track ", i), wide(i)},
		}
		content(t, sc, drive(t, sc, nil, trusted))
	}
	refused := script{Token: shopToken, Config: config(), ServiceAccount: []string{username, "wrong", shopID}, Calls: [][]any{
		{"import", "refused", date(old), wide(0)},
	}}
	if answers := drive(t, refused, nil, trusted); !strings.Contains(answers[0], "Invalid credentials") {
		t.Errorf("a wrong secret: the client says %q", answers[0])
	}
	s.finish(h)
	counts := map[string]int{}
	for _, row := range s.events(shopID) {
		name, _, _ := strings.Cut(row, " device=")
		counts[name]++
	}
	for i := range 3 {
		for name, want := range map[string]int{fmt.Sprintf(`"import %d"`, i): 1, fmt.Sprintf(`"batch %d"`, i): 60, fmt.Sprintf(`"track %d"`, i): 1} {
			if counts[name] != want {
				t.Errorf("%s: %d rows, want %d", name, counts[name], want)
			}
		}
	}
	if len(counts) != 9 {
		t.Errorf("exported: %v", counts)
	}
}

// peopleCalls leave the profiles behind that peopleOfCalls has.
var peopleCalls = [][]any{
	{"people.set", "ada", object{"$first_name": "Ada", "$last_name": "Lovelace", "born": 1815, "note": "Zürich 🏔"}},
	{"people.set", "ada", "born", 1816},
	{"people.set_once", "ada", object{"born": 1, "first": "seen"}},
	{"people.set_once", "ada", "second", []any{1, object{"a": nil}}},
	{"people.increment", "ada", "logins"},
	{"people.increment", "ada", "logins", 41},
	{"people.increment", "ada", object{"credits": 10, "debits": -2.5}},
	{"people.append", "ada", "pages", "home"},
	{"people.append", "ada", object{"pages": "about", "seen": 1}},
	{"people.append", "ada", "pages", "home"},
	{"people.union", "ada", object{"tags": []any{"a", "b"}, "pages": "home"}},
	{"people.union", "ada", object{"tags": []any{"b", "c"}}},
	{"people.remove", "ada", object{"pages": "about"}},
	{"people.unset", "ada", []any{"seen", "never"}},
	{"people.unset", "ada", "$last_name"},
	{"people.track_charge", "ada", 29.99, object{"$time": "2026-01-02T03:04:05"}},
	{"people.set", "silent", object{"a": 1}, object{"$ignore_time": true}},
	{"people.set", "gone", object{"a": 1}},
	{"people.delete_user", "gone"},
	{"people.set", "back", object{"a": 1, "b": 2}},
	{"people.delete_user", "back", object{"$ignore_alias": true}},
	{"people.set", "back", "b", 3},
	{"people.set", "somewhere", object{"a": 1}, object{"$ip": "198.51.100.7", "$latitude": 46.2, "$longitude": 6.1}},
}

var peopleOfCalls = map[string]string{
	"ada": `{"$first_name":"Ada","born":1816,"note":"Zürich 🏔","first":"seen","second":[1,{"a":null}],"logins":42,"credits":10,"debits":-2.5,
		"pages":["home","home"],"tags":["a","b","c"],"$transactions":[{"$time":"2026-01-02T03:04:05","$amount":29.99}],"$last_seen":"seen"}`,
	"silent":    `{"a":1}`,
	"back":      `{"b":3,"$last_seen":"seen"}`,
	"somewhere": `{"a":1,"$last_seen":"seen"}`,
}
