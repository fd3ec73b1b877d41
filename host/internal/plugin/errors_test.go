package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	var long []string
	for i := range 12 {
		long = append(long, fmt.Sprintf("line %d", i))
	}
	tests := []struct {
		err   error
		want  string
		class protocol.Class
	}{
		{
			&ProtocolError{Plugin: "s3", Theirs: 3, Ours: []int{1, 2}},
			"start plugin s3: it speaks version 3 of the destination protocol, this host versions 1, 2; install a newer penstock, or an older version of the plugin",
			protocol.Configuration,
		},
		{
			&ProtocolError{Plugin: "s3", Theirs: 1, Ours: []int{2}},
			"start plugin s3: it speaks version 1 of the destination protocol, this host version 2; install a newer version of the plugin",
			protocol.Configuration,
		},
		{
			&FrozenError{Plugin: "s3.lake", During: "commit", After: time.Minute, Log: long[:1]},
			"plugin s3.lake gave no sign of life for 1m0s during commit and was killed; its last log lines:\n  line 0", protocol.Retryable,
		},
		{
			&CrashError{Plugin: "s3.lake", Status: "signal: killed", Uptime: 1500 * time.Millisecond, Log: long},
			"plugin s3.lake crashed (signal: killed) after running 1.5s; its last log lines:" +
				"\n  line 2\n  line 3\n  line 4\n  line 5\n  line 6\n  line 7\n  line 8\n  line 9\n  line 10\n  line 11", protocol.Retryable,
		},
		{&DeadlineError{Plugin: "s3", During: "check", After: time.Second}, "plugin s3: check did not end within 1s", protocol.Retryable},
		{
			&BudgetError{Plugin: "s3", Crashes: 6, Window: time.Minute, Until: time.Unix(0, 0), Last: errors.New("boom")},
			"plugin s3 crashed or failed to start 6 times within 1m0s and is not started again before 1970-01-01T00:00:00Z; the last time: boom", protocol.Retryable,
		},
		{
			&RefusedError{Path: "/p/x", Reason: "is bad", Remedy: "mend it"}, "plugin refused: /p/x is bad; mend it", protocol.Configuration,
		},
		{&StartError{Plugin: "s3", Reason: "no", Notes: []string{"a", "b"}}, "start plugin s3: no; a; b", protocol.Retryable},
		{&StartError{Plugin: "s3", Reason: "no", Final: true}, "start plugin s3: no", protocol.Configuration},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, test.err.Error()); diff != "" {
			t.Error(diff)
		}
		if got := protocol.ClassOf(fmt.Errorf("run: %w", test.err)); got != test.class {
			t.Errorf("%T has class %s, want %s", test.err, got, test.class)
		}
	}
}

func TestCleanError(t *testing.T) {
	var r redactor
	r.add("sesame")
	plain := errors.New("nothing to hide")
	if r.cleanError(plain) != plain {
		t.Error("an error without secrets is not returned as it is")
	}
	tests := []struct {
		err   error
		class protocol.Class
	}{
		{fmt.Errorf("open sesame: %w", protocol.ErrUnknown), protocol.Retryable},
		{&protocol.Error{Class: protocol.Fenced, Err: fmt.Errorf("sesame: %w", protocol.ErrUnknown)}, protocol.Fenced},
		{&protocol.Error{Class: protocol.Retryable, Hint: "not sesame", Err: protocol.ErrUnknown}, protocol.Retryable},
	}
	for _, test := range tests {
		got := r.cleanError(fmt.Errorf("commit: %w", test.err))
		var e *protocol.Error
		if !errors.As(got, &e) || e.Class != test.class || !errors.Is(got, protocol.ErrUnknown) {
			t.Errorf("%v became %v", test.err, got)
			continue
		}
		if text := got.Error() + e.Hint; r.clean(text) != text {
			t.Errorf("%v became %v", test.err, text)
		}
	}
}

func TestCacheKeepsTypes(t *testing.T) {
	c := cache{dir: filepath.Join(t.TempDir(), "new")}
	want := protocol.Description{Name: "a", Version: "1", Schema: schema.Schema{Attributes: []schema.Attribute{
		{Name: "s", Type: schema.String, Default: "x", Allowed: []string{"x"}},
		{Name: "b", Type: schema.Bool, Default: true},
		{Name: "i", Type: schema.Integer, Default: int64(9007199254740991)},
		{Name: "n", Type: schema.Number, Default: 1.5},
		{Name: "l", Type: schema.ListOfString, Default: []string{"x", "y"}},
		{Name: "m", Type: schema.MapOfString, Default: map[string]string{"k": "v"}},
		{Name: "z", Type: schema.Size, Default: "64MiB"},
		{Name: "none", Type: schema.Duration, Required: true, Sensitive: true},
	}}}
	if err := c.put("abc", want); err != nil {
		t.Fatal(err)
	}
	got, err := c.get("abc")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, content := range map[string]string{"torn": `{"version":1,`, "old": `{"version":0,"sha256":"old"}`, "other": `{"version":1,"sha256":"abc"}`} {
		if err := os.WriteFile(c.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.get(name); err == nil {
			t.Errorf("read a cached description that is %s", name)
		}
	}
}
