package plugin

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
)

const (
	keptLines = 100
	// maxLine is how many bytes of a line are kept; the rest is read and dropped.
	maxLine = 16 << 10
)

// logs takes a plugin's output, keeps the last keptLines lines for errors, and
// forwards each line to the host's logger. Lines of level debug, most of which are
// those of go-plugin, are kept only if the logger takes them.
type logs struct {
	logger *slog.Logger
	red    *redactor

	mu   sync.Mutex
	ring []string
	next int
	in   *inlet // nil: the process was not started
}

func newLogs(logger *slog.Logger, red *redactor) *logs {
	return &logs{logger: logger, red: red, ring: make([]string, 0, keptLines)}
}

// inlet returns the reader of the process's standard error, which settle waits for.
func (l *logs) inlet(stderr *os.File) *inlet {
	in := &inlet{f: stderr, turns: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = in
	return in
}

// settle returns when everything is read that the process had written to its standard
// error, or after limit. Lines for the variable os.Stderr, which go-plugin replaces in the
// plugin, come through the connection, and later.
func (l *logs) settle(limit time.Duration) {
	l.mu.Lock()
	in := l.in
	l.mu.Unlock()
	if in == nil {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !in.idle() {
		select {
		case <-in.turns:
		case <-timer.C:
			return
		}
	}
}

// inlet is a pipe that is read line by line, and knows whether anything is left in it.
type inlet struct {
	f     *os.File
	state atomic.Int32
	turns chan struct{} // sent to when the reader begins to wait, and at the end
}

// The states of an inlet, while its reader takes bytes or keeps lines; has kept all that
// it took; is done.
const (
	inletBusy int32 = iota
	inletWaits
	inletEnded
)

// Read implements io.Reader. The state says that the reader is busy before it takes
// bytes: idle would otherwise find an empty pipe, and a line missing.
func (i *inlet) Read(p []byte) (n int, err error) {
	i.turn(inletWaits)
	raw, err := i.f.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			i.state.Store(inletBusy)
			for {
				if n, failed = syscall.Read(int(fd), p); failed != syscall.EINTR {
					break
				}
			}
			if failed == syscall.EAGAIN {
				i.turn(inletWaits)
				return false
			}
			return true
		})
		err = cmp.Or(err, failed)
	}
	switch {
	case err != nil:
		n = 0
	case n == 0 && len(p) > 0:
		err = io.EOF
	}
	if err != nil {
		i.turn(inletEnded)
	}
	return n, err
}

func (i *inlet) turn(state int32) {
	i.state.Store(state)
	select {
	case i.turns <- struct{}{}:
	default:
	}
}

// idle reports whether all that was written before the call was read and kept. A reader
// that waits before and after the pipe is found empty has kept what it took.
func (i *inlet) idle() bool {
	switch i.state.Load() {
	case inletEnded:
		return true
	case inletWaits:
		return !hasInput(i.f) && i.state.Load() != inletBusy
	}
	return false
}

// last returns the lines kept, oldest first.
func (l *logs) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < keptLines {
		return slices.Clone(l.ring)
	}
	return append(slices.Clone(l.ring[l.next:]), l.ring[:l.next]...)
}

func (l *logs) keep(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < keptLines {
		l.ring = append(l.ring, line)
		return
	}
	l.ring[l.next] = line
	l.next = (l.next + 1) % keptLines
}

// read takes everything from r, line by line, until it ends or fails. level is
// that of lines which do not say theirs.
func (l *logs) read(r io.Reader, level slog.Level) {
	_ = readLines(r, func(line []byte, cut bool) error {
		l.line(line, cut, level)
		return nil
	})
}

func (l *logs) line(line []byte, cut bool, level slog.Level) {
	if cut {
		line = append(l.red.cleanCut(line), "…"...)
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	e, ok := parseEntry(line)
	if !ok {
		e = entryOf(line, level)
	}
	e.message = l.red.clean(e.message)
	for i := range e.attrs {
		e.attrs[i].Key = l.red.clean(e.attrs[i].Key)
		e.attrs[i].Value = slog.StringValue(l.red.clean(e.attrs[i].Value.String()))
	}
	if e.level >= slog.LevelInfo || l.logger.Enabled(context.Background(), e.level) {
		l.keep(e.String())
	}
	l.logger.LogAttrs(context.Background(), e.level, e.message, e.attrs...)
}

// writer splits a stream of bytes into lines, in memory bounded by maxLine. The
// bytes after the last newline are kept until the rest of their line is written.
// It is for one goroutine.
type writer struct {
	logs    *logs
	level   slog.Level
	pending []byte
	skip    bool // the rest of a line that was too long
}

// Write never fails.
func (w *writer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		piece, rest, ended := bytes.Cut(p, []byte{'\n'})
		p = rest
		if !w.skip {
			room := maxLine - len(w.pending)
			w.skip = len(piece) > room
			w.pending = append(w.pending, piece[:min(room, len(piece))]...)
			if w.skip {
				w.flush(true)
			}
		}
		if ended {
			w.flush(false)
			w.skip = false
		}
	}
	return n, nil
}

func (w *writer) flush(cut bool) {
	if len(w.pending) > 0 {
		w.logs.line(w.pending, cut, w.level)
	}
	w.pending = w.pending[:0]
}

// readLines calls fn for each line of r without its newline, in memory bounded
// by maxLine; cut says that the line was longer. fn must not keep the slice.
func readLines(r io.Reader, fn func(line []byte, cut bool) error) error {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			if ferr := fn(bytes.TrimRight(line, "\r\n"), cut); ferr != nil {
				return ferr
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = br.ReadSlice('\n')
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// logEntry is one line of a plugin's log.
type logEntry struct {
	level   slog.Level
	message string
	attrs   []slog.Attr
}

func (e logEntry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.level, e.message)
	for _, a := range e.attrs {
		fmt.Fprintf(&b, " %s=%s", a.Key, a.Value)
	}
	return b.String()
}

// parseEntry reads a line as hclog writes it in JSON.
func parseEntry(line []byte) (logEntry, bool) {
	if line[0] != '{' {
		return logEntry{}, false
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil {
		return logEntry{}, false
	}
	var message, level, module string
	if json.Unmarshal(raw["@message"], &message) != nil {
		return logEntry{}, false
	}
	_ = json.Unmarshal(raw["@level"], &level) // absent: info
	e := logEntry{level: levelOf(level), message: message}
	if json.Unmarshal(raw["@module"], &module) == nil && module != "" {
		e.attrs = append(e.attrs, slog.String("module", module))
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if strings.HasPrefix(key, "@") {
			continue
		}
		e.attrs = append(e.attrs, slog.String(key, plainText(raw[key])))
	}
	return e, true
}

func plainText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func levelOf(s string) slog.Level {
	switch strings.ToLower(s) {
	case "trace", "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// entryOf makes an entry of a line in any other form: a panic, a print.
func entryOf(line []byte, level slog.Level) logEntry {
	for _, p := range []string{"panic:", "fatal error:", "runtime:", "SIG"} {
		if bytes.HasPrefix(line, []byte(p)) {
			level = slog.LevelError
		}
	}
	text := string(line)
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	return logEntry{level: level, message: text}
}
