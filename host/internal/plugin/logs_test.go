package plugin

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogForwarding(t *testing.T) {
	tests := []struct {
		name, line string
		want       string // as forwarded
		kept       string
	}{
		{
			"hclog", `{"@level":"warn","@message":"slow upload","@module":"s3","@timestamp":"2026-06-01T00:00:00Z","bytes":17,"object":"a/b"}`,
			`level=WARN msg="slow upload" module=s3 bytes=17 object=a/b`, "WARN slow upload module=s3 bytes=17 object=a/b",
		},
		{"no level", `{"@message":"hello"}`, `level=INFO msg=hello`, "INFO hello"},
		{"trace", `{"@level":"trace","@message":"hello"}`, `level=DEBUG msg=hello`, "DEBUG hello"},
		{"other JSON", `{"message":"hello"}`, `level=INFO msg="{\"message\":\"hello\"}"`, `INFO {"message":"hello"}`},
		{"text", "hello", `level=INFO msg=hello`, "INFO hello"},
		{"panic", "panic: oh no", `level=ERROR msg="panic: oh no"`, "ERROR panic: oh no"},
		{"not UTF-8", "a\xffb", "level=INFO msg=\"a\uFFFDb\"", "INFO a\uFFFDb"},
		{"secret in text", "password is hunter2, really", `level=INFO msg="password is [redacted], really"`, "INFO password is [redacted], really"},
		{"secret in an attribute", `{"@level":"info","@message":"m","url":"https://u:hunter2@h"}`, `level=INFO msg=m url=https://u:[redacted]@h`, "INFO m url=https://u:[redacted]@h"},
		{"secret escaped", `{"@level":"info","@message":"m","v":{"p":"a\"b<c\\d"}}`, `level=INFO msg=m v="{\"p\":\"[redacted]\"}"`, `INFO m v={"p":"[redacted]"}`},
		{"line of a key", "key MIIEvQIBADANBg done", `level=INFO msg="key [redacted] done"`, "INFO key [redacted] done"},
		{"blank", "   ", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			l := newLogs(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: dropTime})), &redactor{})
			l.red.add("hunter2", `a"b<c\d`, "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n")
			l.read(strings.NewReader(test.line+"\n"), slog.LevelInfo)
			if diff := cmp.Diff(test.want, strings.TrimSuffix(out.String(), "\n")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.kept, strings.Join(l.last(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An error shows lines of level debug only if the host's log does.
func TestKeptLevels(t *testing.T) {
	t.Parallel()
	const lines = `{"@level":"debug","@message":"stdio EOF, exiting copy loop"}` + "\n" + `{"@level":"info","@message":"wrote"}` + "\n"
	for level, want := range map[slog.Level]string{
		slog.LevelDebug: "DEBUG stdio EOF, exiting copy loop\nINFO wrote",
		slog.LevelInfo:  "INFO wrote",
		slog.LevelError: "INFO wrote",
	} {
		l := newLogs(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level})), &redactor{})
		l.read(strings.NewReader(lines), slog.LevelInfo)
		if diff := cmp.Diff(want, strings.Join(l.last(), "\n")); diff != "" {
			t.Errorf("level %s: %s", level, diff)
		}
	}
}

func dropTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func TestLastLines(t *testing.T) {
	l := newLogs(discard, &redactor{})
	var text strings.Builder
	for i := range 250 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	l.read(strings.NewReader(text.String()), slog.LevelInfo)
	got := l.last()
	if len(got) != 100 || got[0] != "INFO line 150" || got[99] != "INFO line 249" {
		t.Errorf("%d lines from %q to %q", len(got), got[0], got[len(got)-1])
	}
}

// A line of any length is cut, and wherever the cut falls, no part of a secret
// is kept.
func TestLongLines(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	for shift := range len(secret) + 2 {
		l := newLogs(discard, &redactor{})
		l.red.add(secret)
		line := strings.Repeat("x", maxLine-shift) + secret + strings.Repeat("y", 1<<20) + "\nnext"
		l.read(strings.NewReader(line), slog.LevelInfo)
		got := l.last()
		if len(got) != 2 || got[1] != "INFO next" {
			t.Fatalf("shift %d: %d lines, the last %q", shift, len(got), got[len(got)-1])
		}
		if len(got[0]) > maxLine+100 || strings.Contains(got[0], "co") {
			t.Errorf("shift %d: kept %d bytes ending in %q", shift, len(got[0]), got[0][max(0, len(got[0])-40):])
		}
	}
}

// Output written in pieces gives the same lines as output written at once.
func TestPieces(t *testing.T) {
	text := "one\n\n" + strings.Repeat("x", 3*maxLine) + "\ntwo sesame\nthree\n" + strings.Repeat("y", maxLine) + "\nlast\n"
	whole := newLogs(discard, &redactor{})
	whole.red.add("sesame")
	whole.read(strings.NewReader(text), slog.LevelInfo)
	for _, size := range []int{1, 7, 1024, maxLine + 1, len(text)} {
		l := newLogs(discard, &redactor{})
		l.red.add("sesame")
		w := &writer{logs: l, level: slog.LevelInfo}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if got, err := w.Write([]byte(rest[:n])); got != n || err != nil {
				t.Fatalf("write = %d, %v", got, err)
			}
			rest = rest[n:]
		}
		if len(w.pending) > maxLine || cap(w.pending) > 4*maxLine {
			t.Errorf("holds %d of %d bytes", len(w.pending), cap(w.pending))
		}
		got, want := l.last(), whole.last()
		if len(got) != 6 || got[0] != "INFO one" || got[2] != "INFO two [redacted]" || got[5] != "INFO last" {
			t.Errorf("in pieces of %d: %d lines", size, len(got))
		}
		for i := range got {
			if strings.TrimRight(got[i], "…") != strings.TrimRight(want[i], "…") && len(got[i]) < maxLine-100 {
				t.Errorf("in pieces of %d: line %d differs", size, i)
			}
		}
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add([]byte(`{"@level":"warn","@message":"m","k":[1]}`), true)
	f.Add([]byte("{"), false)
	f.Fuzz(func(t *testing.T, line []byte, cut bool) {
		l := newLogs(discard, &redactor{})
		l.red.add("sesame")
		if len(line) > 0 {
			l.line(line, cut, slog.LevelInfo)
		}
		for _, kept := range l.last() {
			if strings.Contains(kept, "sesame") {
				t.Errorf("kept a secret: %q", kept)
			}
		}
	})
}

// Lines that a process has written to its standard error are there once logs has settled,
// while the process lives and after it has ended.
func TestLogsSettle(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := newLogs(discard, &redactor{})
	l.settle(time.Hour) // no process was started
	in, ended := l.inlet(r), make(chan struct{})
	go func() {
		defer close(ended)
		l.read(in, slog.LevelInfo)
	}()
	for round := range 10 {
		for line := range 20 {
			if _, err := fmt.Fprintf(w, "line %d of round %d\n", line, round); err != nil {
				t.Fatal(err)
			}
		}
		l.settle(time.Hour)
		kept := l.last()
		if want := fmt.Sprintf("INFO line 19 of round %d", round); len(kept) == 0 || kept[len(kept)-1] != want {
			t.Fatalf("%d lines are kept, and the last is not %q", len(kept), want)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	l.settle(time.Hour)
}
