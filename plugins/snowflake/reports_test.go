package snowflake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// Each request to the service meets a connection that is cut before it arrives, and one
// whose answer is lost. The run is there once, whichever it was.
func TestEveryRequestMayBeLost(t *testing.T) {
	if testing.Short() {
		t.Skip("several minutes of the driver's pauses")
	}
	w := startWarehouse(t)
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People} {
		t.Run(stream.String(), func(t *testing.T) { w.loseEachRequest(t, stream) })
	}
}

func (w *warehouse) loseEachRequest(t *testing.T, stream sdk.Stream) {
	first, second := events("one", "2026-06-01", "2026-06-02"), events("two", "2026-06-02")
	want := func() map[string][]string {
		all := first.want()
		for date, rows := range second.want() {
			all[date] = append(all[date], rows...)
		}
		return all
	}
	if stream == sdk.People {
		first, second = people("one", 7), people("two", 3)
		want = second.want
	}
	calm := faultproxy.Start(t, w.URL)
	config := w.config()
	runOne(t, config, testRun(stream, 1, 1), first)
	config["endpoint"] = calm.URL
	d := openAt(t, config)
	if n, err := whole(t.Context(), func() *destination { return d }, testRun(stream, 2, 2), second); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	requests := calm.Requests(faultproxy.Match{Path: "/query-request|/login-request"})
	if len(requests) < 10 {
		t.Fatalf("a run makes %d requests", len(requests))
	}
	for i := range requests {
		for name, fault := range map[string]faultproxy.Fault{"cut before": faultproxy.CutBefore(), "lost answer": faultproxy.LoseAnswer()} {
			t.Run(fmt.Sprintf("%d %s", i+1, name), func(t *testing.T) {
				t.Parallel()
				config := w.config()
				runOne(t, config, testRun(stream, 1, 1), first)
				proxy := faultproxy.Start(t, w.URL)
				proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Path: "/query-request|/login-request"}, Nth: i + 1, Fault: fault})
				config["endpoint"] = proxy.URL
				d := openAt(t, config)
				if _, err := whole(t.Context(), func() *destination { return d }, testRun(stream, 2, 2), second); err != nil {
					t.Fatal(err)
				}
				w.expect(t, config, stream, want())
				if left := w.staged(t, config); len(left) > 0 {
					t.Errorf("the stage holds %v", left)
				}
			})
		}
	}
}

// A zombie is held at each statement of its commit while a successor exports the run.
// The rows are there once, and of the two at most one has committed without knowing it.
func TestZombieAtEachStatement(t *testing.T) {
	w := startWarehouse(t)
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People} {
		c := events("one", "2026-06-01")
		if stream == sdk.People {
			c = people("one", 5)
		}
		for _, p := range []standin.SnowflakePoint{
			{Statement: "^BEGIN"}, {Statement: "^COPY INTO"}, {Statement: "^COPY INTO", At: "after"}, {Statement: `^UPDATE .*SET "RUN"`},
			{Statement: `^UPDATE .*SET "RUN"`, At: "after"}, {Statement: "^COMMIT"}, {Statement: "^COMMIT", At: "after"}, {Statement: "^INSERT OVERWRITE"}, {Statement: "^INSERT OVERWRITE", At: "after"},
		} {
			if stream == sdk.Events && strings.Contains(p.Statement, "OVERWRITE") {
				continue
			}
			t.Run(fmt.Sprintf("%s %s %s", stream, p.Statement, p.At), func(t *testing.T) {
				config := w.config()
				zombie, successor := openAt(t, config), openAt(t, config)
				receipt, err := export(t.Context(), zombie, testRun(stream, 1, 1), c)
				if err != nil {
					t.Fatal(err)
				}
				hold := w.Hold(p)
				ended := make(chan error, 1)
				go func() { ended <- zombie.Commit(t.Context(), testRun(stream, 1, 1), receipt) }()
				hold.Reached()
				// From the UPDATE on the zombie holds the ledger's lock, from INSERT OVERWRITE
				// on the set's: the successor waits until the zombie has ended.
				locks := strings.Contains(p.Statement, "COMMIT") || strings.Contains(p.Statement, `"RUN"`) || strings.Contains(p.Statement, "OVERWRITE") && p.At == "after"
				if locks {
					hold.Release()
				}
				n, err := whole(t.Context(), func() *destination { return successor }, testRun(stream, 1, 2), c)
				if err != nil || n != 1 {
					t.Errorf("successor: %d attempts, %v", n, err)
				}
				if !locks {
					hold.Release()
				}
				if err := <-ended; err != nil && protocol.ClassOf(err) != protocol.Fenced || err == nil && !locks {
					t.Errorf("zombie: %v", err)
				}
				w.expect(t, config, stream, c.want())
			})
		}
	}
}

// S18: tokens and sessions end between PUT and COPY, and at each statement of the
// transaction. The driver renews a token; a session that is gone is replaced, and its
// transaction is done again from BEGIN.
func TestSessionsEnd(t *testing.T) {
	w := startWarehouse(t)
	for _, ends := range []string{"token", "master", "session"} {
		for _, statement := range []string{"^BEGIN", "^COPY INTO", `^UPDATE .*SET "RUN"`, "^COMMIT"} {
			if ends == "master" && (strings.HasPrefix(statement, "^UPDATE") || statement == "^COMMIT") {
				continue // the service keeps the lock of such a session for five minutes, and another one waits
			}
			t.Run(ends+" "+statement, func(t *testing.T) {
				config := w.config()
				d := openAt(t, config)
				c := events("one", "2026-06-01")
				run := testRun(sdk.Events, 1, 1)
				receipt, err := export(t.Context(), d, run, c)
				if err != nil {
					t.Fatal(err)
				}
				before, _ := w.Statements()
				hold := w.Hold(standin.SnowflakePoint{Statement: statement})
				ended := make(chan error, 1)
				go func() { ended <- d.Commit(t.Context(), run, receipt) }()
				hold.Reached()
				w.Expire(ends)
				hold.Release()
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				w.expect(t, config, sdk.Events, c.want())
				after, _ := w.Statements()
				w.oneSession(t, after[len(before):])
			})
		}
	}
}

// oneSession is S19: each statement of a transaction is of the session that has begun it.
func (w *warehouse) oneSession(t *testing.T, statements []standin.SnowflakeStatement) {
	t.Helper()
	open := make(map[int64]bool)
	for _, s := range statements {
		switch word, _, _ := strings.Cut(s.Text, " "); word {
		case "BEGIN":
			open[s.Session] = s.Code == ""
		case "COMMIT", "ROLLBACK":
			if word == "COMMIT" && s.Code == "" && !open[s.Session] {
				t.Errorf("session %d commits without BEGIN", s.Session)
			}
			open[s.Session] = false
		case "COPY":
			if !open[s.Session] && s.Code == "" {
				t.Errorf("session %d copies without BEGIN", s.Session)
			}
		}
	}
}

// A statement that fails leaves the transaction open. It is rolled back, and the ledger
// does not keep a run without rows.
func TestFailedStatementsAreRolledBack(t *testing.T) {
	w := startWarehouse(t)
	for _, statement := range []string{"^BEGIN", "^COPY INTO", `^UPDATE .*SET "RUN"`, "^COMMIT"} {
		t.Run(statement, func(t *testing.T) {
			config := w.config()
			d := openAt(t, config)
			c := events("one", "2026-06-01")
			run := testRun(sdk.Events, 1, 1)
			receipt, err := export(t.Context(), d, run, c)
			if err != nil {
				t.Fatal(err)
			}
			before, _ := w.Statements()
			w.Fail(standin.SnowflakePoint{Statement: statement}, 300002, "XX000", "Processing aborted.")
			if err := d.Commit(t.Context(), run, receipt); protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("commit: %v", err)
			}
			status, err := d.Status(t.Context(), run)
			if err != nil || status.Last.Number != 0 {
				t.Errorf("status %+v, %v", status, err)
			}
			after, _ := w.Statements()
			if statement != "^BEGIN" && !slices.ContainsFunc(after[len(before):], func(s standin.SnowflakeStatement) bool { return s.Text == "ROLLBACK" }) {
				t.Error("there was no ROLLBACK")
			}
			w.expect(t, config, sdk.Events, nil)
			// S3: the same names again, in the same attempt.
			if n, err := whole(t.Context(), func() *destination { return openAt(t, config) }, run, c); err != nil || n != 1 {
				t.Errorf("again: %d, %v", n, err)
			}
			w.expect(t, config, sdk.Events, c.want())
		})
	}
}

// S5: a row that carries no flag and that COPY refuses: the next attempt of the process
// finds it, and loads the others.
func TestARowThatCopyRefuses(t *testing.T) {
	w := startWarehouse(t)
	for _, mode := range []string{"repair", "reject"} {
		config := w.config()
		config["unusual"] = mode
		d := openAt(t, config)
		c := events("one", "2026-06-01")
		bad := destinationtest.Row{Line: `{"device_id":null,"distinct_id":"u","event_name":"e","insert_id":"twice","properties":{"a":1,"a":2},"time":1780272000,"user_id":null}`}
		c["2026-06-01"] = append(c["2026-06-01"], bad)
		want := c.want()
		if mode == "reject" {
			want["2026-06-01"] = want["2026-06-01"][:5]
		}
		if n, err := whole(t.Context(), func() *destination { return d }, testRun(sdk.Events, 1, 1), c); err != nil || n != 2 {
			t.Errorf("%s: %d attempts, %v", mode, n, err)
		}
		w.expect(t, config, sdk.Events, want)
	}
}

// S9: the stage holds another file under the name of a part. It is overwritten.
func TestALeftoverOfTheSameName(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	run, c := testRun(sdk.Events, 1, 1), events("one", "2026-06-01")
	killed := openAt(t, config)
	if _, err := export(t.Context(), killed, run, events("other", "2026-06-01", "2026-06-02")); err != nil {
		t.Fatal(err)
	}
	if left := w.staged(t, config); len(left) != 1 {
		t.Fatalf("the stage holds %v", left)
	}
	if n, err := whole(t.Context(), func() *destination { return openAt(t, config) }, run, c); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	w.expect(t, config, sdk.Events, c.want())
}

// The files of killed attempts are found by the next one and removed, from the stage
// and from the spool.
func TestLeftoversOfKilledAttempts(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["spool_dir"] = t.TempDir()
	for number := range int64(3) {
		killed := openAt(t, config)
		if _, err := export(t.Context(), killed, testRun(sdk.Events, 1, number+1), events("one", "2026-06-01")); err != nil {
			t.Fatal(err)
		}
	}
	dead := filepath.Join(config["spool_dir"].(string), spoolPrefix+"dead")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	c := events("one", "2026-06-01")
	runOne(t, config, testRun(sdk.Events, 1, 9), c)
	w.expect(t, config, sdk.Events, c.want())
	if left := w.staged(t, config); len(left) > 0 {
		t.Errorf("the stage holds %v", left)
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the spool of a killed process: %v", err)
	}
}

// stagedWarehouse is a warehouse whose stage is behind a proxy.
func stagedWarehouse(t *testing.T) (*warehouse, *faultproxy.Proxy) {
	t.Helper()
	files := standin.StartS3TLS(t, "stages")
	proxy := faultproxy.StartTLS(t, files.Endpoint)
	return newWarehouse(t, standin.SnowflakeOptions{Stages: files, StageEndpoint: strings.TrimPrefix(proxy.URL, "https://")}), proxy
}

// S7: the storage refuses a part. The run fails before COPY, and no file is left in
// the spool.
func TestTheStageRefusesAPart(t *testing.T) {
	w, proxy := stagedWarehouse(t)
	config := w.config()
	config["spool_dir"] = t.TempDir()
	proxy.Add(faultproxy.Rule{
		Match: faultproxy.Match{Method: http.MethodPut}, Times: -1,
		Fault: faultproxy.Answer(http.StatusForbidden, http.Header{"Content-Type": {"application/xml"}}, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`),
	})
	d := openAt(t, config)
	run := testRun(sdk.Events, 1, 1)
	if _, err := export(t.Context(), d, run, events("one", "2026-06-01")); protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "upload part-00001.json.gz") {
		t.Errorf("the export ends with %v", err)
	}
	statements, _ := w.Statements()
	for _, s := range statements {
		if strings.HasPrefix(s.Text, "COPY") {
			t.Errorf("after a failed upload: %s", s.Text)
		}
	}
	_ = d.Abort(context.WithoutCancel(t.Context()), run, true)
	spooled, err := filepath.Glob(filepath.Join(config["spool_dir"].(string), "*", "*", "*"))
	if err != nil || len(spooled) > 0 {
		t.Errorf("the spool holds %v, %v", spooled, err)
	}
}

// S10, S11: the bucket's acceleration may not be asked for; a connection breaks in the
// middle of a part, and an answer of the storage is lost.
func TestTheStageBreaks(t *testing.T) {
	w, proxy := stagedWarehouse(t)
	denied := faultproxy.Answer(http.StatusForbidden, nil, "")
	proxy.Add(
		faultproxy.Rule{Match: faultproxy.Match{Query: "accelerate"}, Times: -1, Fault: denied},
		faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPut}, Fault: faultproxy.CutBody(100)},
		faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPut}, Fault: faultproxy.LoseAnswer()},
	)
	config := w.config()
	d := openAt(t, config)
	c := events("one", "2026-06-01")
	if _, err := whole(t.Context(), func() *destination { return d }, testRun(sdk.Events, 1, 1), c); err != nil {
		t.Fatal(err)
	}
	w.expect(t, config, sdk.Events, c.want())
}

// A run of many parts: its files are uploaded one after another, two are spooled at
// most, and each row is there once.
func TestManyParts(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["spool_dir"] = t.TempDir()
	d := openAt(t, config, func(d *destination) { d.partSize = 1 })
	run := testRun(sdk.Events, 1, 1)
	dates := []string{"2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04", "2026-06-05"}
	c := events("one", dates...)
	if _, err := d.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	var receipt sdk.Receipt
	for i, date := range dates {
		p, err := d.Write(t.Context(), run, sdk.Partition{Index: i, Date: date}, readerOf(c[date], nil))
		if err != nil {
			t.Fatal(err)
		}
		spooled, err := filepath.Glob(filepath.Join(config["spool_dir"].(string), "*", "*", "*.gz"))
		if err != nil || len(spooled) > 2 {
			t.Errorf("the spool holds %v, %v", spooled, err)
		}
		p.Index, p.Date = i, date
		receipt.Partitions = append(receipt.Partitions, p)
	}
	if err := d.Prepare(t.Context(), run, receipt); err != nil {
		t.Fatal(err)
	}
	if staged := w.staged(t, config); len(staged) != 15 {
		t.Errorf("%d files are in the stage", len(staged))
	}
	if err := d.Commit(t.Context(), run, receipt); err != nil {
		t.Fatal(err)
	}
	w.expect(t, config, sdk.Events, c.want())
}

// S12: refused credentials are a mistake in the configuration, are tried once, and the
// hint names the way out.
func TestRefusedLogins(t *testing.T) {
	w := startWarehouse(t)
	logins := func() int { _, all := w.Statements(); return len(all) }
	try := func(config map[string]any, times int, hint string) {
		t.Helper()
		d := openAt(t, config)
		before := logins()
		for range 3 {
			_, err := d.Open(t.Context(), testRun(sdk.Events, 1, 1))
			got := new(sdk.Error)
			if !errors.As(err, &got) || got.Class != protocol.Configuration || !strings.Contains(got.Hint, hint) {
				t.Errorf("the error is %v, its hint %q, want %q", err, got.Hint, hint)
			}
			if strings.Contains(fmt.Sprint(err), w.Password) || strings.Contains(fmt.Sprint(err), "wrong-secret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		}
		if n := logins() - before; n != times {
			t.Errorf("%d logins were tried, want %d", n, times)
		}
	}
	password := func(user, password string) map[string]any {
		c := w.config()
		delete(c, "private_key")
		c["user"], c["password"] = user, password
		return c
	}
	try(password(w.Person, "wrong-secret"), 1, "private_key")
	w.RequireMFA(w.Person, true)
	try(password(w.Person, w.Password), 1, "private_key")
	w.RequireMFA(w.Person, false)
	w.Lock(w.Person, time.Hour)
	try(password(w.Person, w.Password), 1, "MINS_TO_UNLOCK")
	token := w.config()
	delete(token, "private_key")
	token["token"] = "wrong-secret"
	try(token, 3, "PROGRAMMATIC ACCESS TOKEN")
	w.AddToken(w.User, "pat-1", w.Role, false)
	token["token"] = "pat-1"
	try(token, 3, "CREATE NETWORK POLICY")
	clock := w.config()
	w.Advance(5 * time.Minute)
	try(clock, 3, "SYSTEM$GET_LOGIN_FAILURE_DETAILS")
	w.Advance(-5 * time.Minute)
	role := w.config()
	role["role"] = "NOBODY"
	try(role, 3, "GRANT ROLE")
	w.Block("127.0.0.1")
	try(w.config(), 3, "ALLOWED_IP_LIST")
	w.Block("")
	d := openAt(t, w.config())
	if _, err := d.Open(t.Context(), testRun(sdk.Events, 1, 1)); err != nil {
		t.Error(err)
	}
}

// A refusal is remembered for a while, and then the service is asked again.
func TestARefusalIsForgotten(t *testing.T) {
	w := startWarehouse(t)
	c := w.config()
	delete(c, "private_key")
	c["user"], c["password"] = w.Person, w.Password
	now := time.Now()
	d := openAt(t, c, func(d *destination) { d.connector.now = func() time.Time { return now } })
	w.RequireMFA(w.Person, true)
	if _, err := d.Open(t.Context(), testRun(sdk.Events, 1, 1)); err == nil {
		t.Error("a login without a second factor")
	}
	w.RequireMFA(w.Person, false)
	if _, err := d.Open(t.Context(), testRun(sdk.Events, 1, 2)); err == nil {
		t.Error("the service was asked again at once")
	}
	now = now.Add(refusedFor)
	if _, err := d.Open(t.Context(), testRun(sdk.Events, 1, 3)); err != nil {
		t.Error(err)
	}
}

// Each kind of credential that the stand-in knows logs in.
func TestLogins(t *testing.T) {
	w := startWarehouse(t)
	w.AddToken(w.User, "pat-1", w.Role, true)
	w.AddOAuth(w.User, "oauth-1", w.Role, time.Now().Add(time.Hour))
	for name, change := range map[string]func(map[string]any){
		"key": func(map[string]any) {}, "token": func(c map[string]any) { c["token"] = "pat-1" }, "oauth": func(c map[string]any) { c["oauth_token"] = "oauth-1" },
		"password": func(c map[string]any) { c["user"], c["password"] = w.Person, w.Password },
	} {
		t.Run(name, func(t *testing.T) {
			c := w.config()
			if name != "key" {
				delete(c, "private_key")
			}
			change(c)
			if _, err := openAt(t, c).Open(t.Context(), testRun(sdk.Events, 1, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	// S14: a login may take longer than the driver's own limit of ten seconds.
	conf, err := w.login().login()
	//lint:ignore SA1019 the driver has no other limit yet
	limit := conf.JWTClientTimeout
	if err != nil || limit < time.Minute {
		t.Errorf("a login has %v, %v", limit, err)
	}
}

// failed returns the actions of a check that failed, with their details.
func failed(results []sdk.CheckResult) map[string]string {
	found := make(map[string]string)
	for _, r := range results {
		if !r.OK {
			found[r.Action] = r.Detail
		}
	}
	return found
}

func TestCheck(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	schema := w.Database + "." + config["schema"].(string)
	check := func() map[string]string { t.Helper(); return failed(openAt(t, config).Check(t.Context())) }
	if found := check(); len(found) > 0 {
		t.Errorf("a good configuration: %v", found)
	}
	for _, kind := range []string{"TABLES", "VIEWS", "STAGES"} {
		if rows, err := w.query(t.Context(), "SHOW "+kind+" IN SCHEMA "+schema); err != nil || len(rows) > 0 {
			t.Errorf("the check leaves %s %v, %v", kind, rows, err)
		}
	}
	// S17: objects that exist are used without the right to create them.
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People, sdk.Identity} {
		c := people("a", 1)
		if stream == sdk.Events {
			c = events("a", "2026-06-01")
		} else if stream == sdk.Identity {
			c = content{"": {{Line: `{"distinct_id":"u1","resolved_distinct_id":"person"}`}}}
		}
		runOne(t, config, testRun(stream, 1, 1), c)
	}
	w.SQL("REVOKE CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA " + schema + " FROM ROLE " + w.Role)
	if found := check(); len(found) > 0 {
		t.Errorf("objects that exist: %v", found)
	}
	runOne(t, config, testRun(sdk.Events, 2, 2), events("b", "2026-06-01"))
	// All that is missing is reported at once.
	empty := w.config()
	w.SQL("REVOKE CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA " + w.Database + "." + empty["schema"].(string) + " FROM ROLE " + w.Role)
	w.SQL("ALTER ACCOUNT SET QUOTED_IDENTIFIERS_IGNORE_CASE = TRUE")
	found := failed(openAt(t, empty).Check(t.Context()))
	for action, grant := range map[string]string{
		"create a table": "GRANT CREATE TABLE ON SCHEMA", "create a view": "GRANT CREATE VIEW ON SCHEMA", "create a stage": "GRANT CREATE STAGE ON SCHEMA",
		"compare parameters": "SET QUOTED_IDENTIFIERS_IGNORE_CASE = FALSE", // S16
	} {
		if !strings.Contains(found[action], grant) {
			t.Errorf("%s: %q, want %s", action, found[action], grant)
		}
	}
	w.SQL("ALTER ACCOUNT SET QUOTED_IDENTIFIERS_IGNORE_CASE = FALSE")
	for name, change := range map[string]func(map[string]any){
		"GRANT USAGE ON SCHEMA":    func(c map[string]any) { c["schema"] = "NOWHERE" },
		"GRANT USAGE ON DATABASE":  func(c map[string]any) { c["database"] = "NOWHERE" },
		"GRANT USAGE ON WAREHOUSE": func(c map[string]any) { c["warehouse"] = "NOWHERE" },
		"log in":                   func(c map[string]any) { c["role"] = "NOWHERE" },
		"which must exist":         func(c map[string]any) { c["spool_dir"] = "/nonexistent/spool" },
		"clock differs":            func(c map[string]any) { c["user"] = w.Person },
		"raise its quota":          func(map[string]any) { w.SetWarehouse(w.Warehouse, true, true, "MONTHLY") },
		"ALTER WAREHOUSE":          func(map[string]any) { w.SetWarehouse(w.Warehouse, true, false, "") },
	} {
		c := maps.Clone(w.config())
		change(c)
		if found := failed(openAt(t, c).Check(t.Context())); !strings.Contains(fmt.Sprint(found), name) {
			t.Errorf("%s: %v", name, found)
		}
		w.SetWarehouse(w.Warehouse, false, true, "")
	}
}

// A table of another form, and a table of a set that another program has written, are
// refused; names with quotes arrive as they are.
func TestForeignTables(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	schema := w.Database + "." + config["schema"].(string)
	w.SQL("CREATE TABLE "+schema+".MP_MASTER_EVENT_RAW (DATA VARIANT, DAY DATE)", "CREATE TABLE "+schema+".MP_PEOPLE_DATA_RAW (DATA VARIANT)",
		"GRANT OWNERSHIP ON TABLE "+schema+".MP_MASTER_EVENT_RAW TO ROLE "+w.Role, "GRANT OWNERSHIP ON TABLE "+schema+".MP_PEOPLE_DATA_RAW TO ROLE "+w.Role)
	for stream, want := range map[sdk.Stream]string{sdk.Events: "not one column", sdk.People: "no record of it"} {
		_, err := openAt(t, config).Open(t.Context(), testRun(stream, 1, 1))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", stream, err)
		}
	}
	adopting := testRun(sdk.People, 1, 2)
	adopting.Adopt = true
	runOne(t, config, adopting, people("a", 2))
	w.expect(t, config, sdk.People, people("a", 2).want())
}

// The name of a view is taken by a table of another program: a run that wrote its rows
// next to it would hide them.
func TestATableUnderTheNameOfAView(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	w.SQL("CREATE TABLE " + w.Database + "." + config["schema"].(string) + "." + eventsView + " (A NUMBER)")
	_, err := openAt(t, config).Open(t.Context(), testRun(sdk.Events, 1, 1))
	if err == nil || protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), "is not a view") {
		t.Errorf("open: %v", err)
	}
}

// S16: an account that takes quoted names as upper case does so for no session of a
// configuration whose lower-case letters count: it would write to another schema.
func TestLowerCaseNamesCount(t *testing.T) {
	w := startWarehouse(t)
	full := w.Database + `."place_q"`
	w.SQL("CREATE SCHEMA "+full, "GRANT "+strings.Join(schemaRights, ", ")+" ON SCHEMA "+full+" TO ROLE "+w.Role, "ALTER ACCOUNT SET QUOTED_IDENTIFIERS_IGNORE_CASE = TRUE")
	config := w.config()
	if found := failed(openAt(t, config).Check(t.Context())); found["compare parameters"] == "" {
		t.Error("the account has the parameter, and the check does not say so")
	}
	config["schema"] = `"place_q"`
	if found := failed(openAt(t, config).Check(t.Context())); len(found) > 0 {
		t.Errorf("lower-case letters that count: %v", found)
	}
	c := events("one", "2026-06-01")
	runOne(t, config, testRun(sdk.Events, 1, 1), c)
	w.SQL("ALTER ACCOUNT SET QUOTED_IDENTIFIERS_IGNORE_CASE = FALSE")
	w.expect(t, config, sdk.Events, c.want())
}
