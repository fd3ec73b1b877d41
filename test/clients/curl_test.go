package clients

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// curl calls, as Mixpanel's documentation shows them, are answered as it says,
// to the byte, and their records are exported.
func TestCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		missing(t, "curl is not installed: apt-get install curl")
	}
	s := newShop(t, "http://localhost:1")
	s.export("shop", "people")
	s.export("club", "identity")
	h := s.serve()
	old := s.began.AddDate(0, 0, -25).Unix()
	imported := func(insert string) string {
		return fmt.Sprintf(`{"event": "Signed up", "properties": {"time": %d, "distinct_id": "91304156-cafc-4673-a237-623d1129c801", "$insert_id": %q, "ip": "136.24.0.114"}}`, old, insert)
	}
	tracked := func(name string) string {
		return fmt.Sprintf(`{"event": %q, "properties": {"token": %q, "distinct_id": "ada", "item": "🏔 + %%"}}`, name, shopToken)
	}
	profile := func(operation string) string {
		return fmt.Sprintf(`[{"$token": %q, "$distinct_id": "13793", "$ip": "0", %s}]`, shopToken, operation)
	}
	s.Write("events.ndjson", imported("ndjson-1")+"\n"+imported("ndjson-2")+"\n")
	s.Write("zipped.ndjson", imported("zip-1")+"\n"+imported("zip-2")+"\n")
	if out, err := exec.Command("gzip", s.Dir+"/zipped.ndjson").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	account := []string{"--user", username + ":" + password}
	asJSON := []string{"--request", "POST", "--header", "accept: text/plain", "--header", "content-type: application/json"}
	const ok = "HTTP 200 text/plain; charset=utf-8"

	for _, tt := range []struct {
		what string
		path string
		args []string
		want string // the body, then status and content type
	}{
		{"track", "/track?ip=1", append(asJSON, "--data", "["+tracked("JSON")+"]"), "1" + ok},
		{"track, the API reference's fragment", "/track#track-event", append(asJSON, "--data", "["+tracked("with a fragment")+"]"), "1" + ok},
		{"track, verbose", "/track?verbose=1", append(asJSON, "--data", "["+tracked("verbose")+"]"), `{"status":1,"error":null}HTTP 200 application/json`},
		{"track of nothing", "/track", append(asJSON, "--data", "[]"), "0" + ok},
		{"track as a form", "/track", []string{"--data-urlencode", "data=" + tracked("form"), "--data", "verbose=1"}, `{"status":1,"error":null}HTTP 200 application/json`},
		{"track as a form, not escaped", "/track/", []string{"--data", `data={"event":"bare form","properties":{"token":"` + shopToken + `"}}`}, "1" + ok},
		{"track by GET", "/track", []string{"--get", "--data-urlencode", "data=" + tracked("GET")}, "1" + ok},
		{"track by GET, with a callback", "/track?callback=done", []string{"--get", "--data-urlencode", "data=" + tracked("GET, callback")}, "done(1)HTTP 200 text/javascript; charset=utf-8"},
		{"track compressed", "/track", []string{"--header", "content-encoding: gzip", "--header", "content-type: application/json", "--data-binary", "@tracked.json.gz"}, "1" + ok},
		{"create identity", "/track#create-identity", []string{"--data-urlencode", `data={"event": "$identify", "properties": {"$identified_id": "grace", "$anon_id": "6d0cf0a3-3ba1-4a43-8b4f-6a6b7f3d9e11", "token": "` + clubToken + `"}}`}, "1" + ok},
		{"create alias", "/track#identity-create-alias", []string{"--data-urlencode", `data={"event": "$create_alias", "properties": {"distinct_id": "grace", "alias": "grace@example.com", "token": "` + clubToken + `"}}`}, "1" + ok},
		{
			"import by a service account", "/import?strict=1&project_id=" + shopID, append(account, append(asJSON, "--data", "["+imported("import-1")+","+imported("import-2")+"]")...),
			`{"code":200,"num_records_imported":2,"status":"OK"}HTTP 200 application/json`,
		},
		{
			"import with the token", "/import?strict=1", append([]string{"--user", shopToken + ":"}, append(asJSON, "--data", "["+imported("token-1")+"]")...),
			`{"code":200,"num_records_imported":1,"status":"OK"}HTTP 200 application/json`,
		},
		{
			"import with the secret", "/import?strict=1&project_id=" + shopID, append([]string{"--user", apiSecret + ":"}, append(asJSON, "--data", "["+imported("secret-1")+"]")...),
			`{"code":200,"num_records_imported":1,"status":"OK"}HTTP 200 application/json`,
		},
		{
			"import of lines", "/import?strict=1&project_id=" + shopID, append(account, "--header", "Content-Type: application/x-ndjson", "--data-binary", "@events.ndjson"),
			`{"code":200,"num_records_imported":2,"status":"OK"}HTTP 200 application/json`,
		},
		{
			"import of compressed lines", "/import?strict=1&project_id=" + shopID, append(account, "--header", "Content-Type: application/x-ndjson", "--header", "Content-Encoding: gzip", "--data-binary", "@zipped.ndjson.gz"),
			`{"code":200,"num_records_imported":2,"status":"OK"}HTTP 200 application/json`,
		},
		{
			"import, partly wrong", "/import?strict=1&project_id=" + shopID,
			append(account, append(asJSON, "--data", `[`+imported("partly-1")+`,{"event":"no time","properties":{"distinct_id":"a","$insert_id":"b"}}]`)...),
			`{"code":400,"error":"some data points in the request failed validation","failed_records":[{"index":1,"insert_id":"b","field":"properties.time","message":"'properties.time' is invalid: must not be missing"}],"num_records_imported":1,"status":"Bad Request"}HTTP 400 application/json`,
		},
		{
			"import with a wrong secret", "/import?strict=1&project_id=" + shopID, append([]string{"--user", username + ":wrong"}, append(asJSON, "--data", "["+imported("never")+"]")...),
			`{"code":401,"error":"Invalid credentials","status":"Unauthorized"}HTTP 401 application/json`,
		},
		{
			"merge", "/import", append([]string{"--user", clubToken + ":"}, append(asJSON, "--data", `[{"event": "$merge", "properties": {"$distinct_ids": ["grace", "hopper"], "token": "`+clubToken+`"}}]`)...),
			`{"code":200,"num_records_imported":1,"status":"OK"}HTTP 200 application/json`,
		},
		{
			"merge, strict", "/import?strict=1&project_id=" + clubID, append(account, append(asJSON, "--data", `[{"event": "$merge", "properties": {"$distinct_ids": ["hopper", "murray"], "token": "`+clubToken+`"}}]`)...),
			`{"code":200,"num_records_imported":1,"status":"OK"}HTTP 200 application/json`,
		},
		{
			"merge, as a form", "/import", append([]string{"--user", apiSecret + ":"}, "--data-urlencode", `data={"event": "$merge", "properties": {"$distinct_ids": ["murray", "gone"], "token": "`+clubToken+`"}}`), "1" + ok,
		},
		{
			"merge where there is no merging", "/import", append([]string{"--user", shopToken + ":"}, append(asJSON, "--data", `[{"event": "$merge", "properties": {"$distinct_ids": ["a", "b"]}}]`)...),
			`{"code":400,"error":"some data points in the request failed validation","failed_records":["identity events are not allowed when project is using simplified identity management"],"num_records_imported":0,"status":"Bad Request"}HTTP 400 application/json`,
		},
		{"profile set", "/engage#profile-set", append(asJSON, "--data", profile(`"$set": {"$name": "Ada", "logins": 3}`)), "1" + ok},
		{"profile add", "/engage?verbose=1#profile-numerical-add", append(asJSON, "--data", profile(`"$add": {"logins": 4}`)), `{"status":1,"error":null}HTTP 200 application/json`},
		{"profile append, as a form", "/engage", []string{"--data-urlencode", "data=" + profile(`"$append": {"list": "x"}`)}, "1" + ok},
		{"profile without an id", "/engage", append(asJSON, "--data", `[{"$token": "`+shopToken+`", "$set": {"a": 1}}]`), "0" + ok},
		{"group set", "/groups#group-set", append(asJSON, "--data", `[{"$token": "`+shopToken+`", "$group_key": "company", "$group_id": "Mixpanel", "$set": {"a": 1}}]`), "1" + ok},
	} {
		if strings.Contains(strings.Join(tt.args, " "), "@tracked") {
			s.Write("tracked.json", tracked("compressed"))
			if out, err := exec.Command("gzip", s.Dir+"/tracked.json").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		args := append([]string{"--silent", "--show-error", "--max-time", "60", "--url", "http://" + s.relay.address + tt.path,
			"--write-out", "HTTP %{http_code} %{content_type}"}, tt.args...)
		command := exec.CommandContext(t.Context(), curl, args...)
		command.Dir = s.Dir
		out, err := command.CombinedOutput()
		if err != nil || string(out) != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.what, err, out, tt.want)
		}
	}
	s.finish(h)
	for id, token := range map[string]string{shopID: shopToken, clubID: clubToken} {
		sent := s.relay.events(t, token)
		same(t, "project "+id, s.events(id), sent)
		t.Logf("project %s: %d events", id, len(sent))
	}
	same(t, "identity", s.mappings(clubID), []string{
		"6d0cf0a3-3ba1-4a43-8b4f-6a6b7f3d9e11 is grace", "gone is grace", "grace@example.com is grace", "hopper is grace", "murray is grace",
	})
	same(t, "people", s.people(shopID), s.profiles(map[string]string{"13793": `{"$name":"Ada","logins":7,"list":["x"],"$last_seen":"seen"}`}))
}
