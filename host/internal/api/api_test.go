package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

type sum struct {
	A, B int
}

func TestCallsReachOperations(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "s.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	server, err := Listen(path, map[string]Operation{
		"sum": func(_ context.Context, params json.RawMessage) (any, error) {
			var p sum
			if err := json.Unmarshal(params, &p); err != nil {
				return nil, err
			}
			return p.A + p.B, nil
		},
		"fail": func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("no such pipeline") },
	})
	if err != nil {
		t.Fatal(err)
	}
	client := Dial(path)
	var got int
	if err := client.Call(t.Context(), "sum", sum{2, 3}, &got); err != nil || got != 5 {
		t.Errorf("sum: got %d, %v", got, err)
	}
	if err := client.Call(t.Context(), "fail", nil, nil); err == nil || err.Error() != "no such pipeline" {
		t.Errorf("fail: got %v", err)
	}
	if err := client.Call(t.Context(), "unknown", nil, nil); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("unknown: got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	client.Close()
	if err := server.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket is still there: %v", err)
	}
}

// Only sockets are removed to make room for the host's own.
func TestListenRemovesNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, nil); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("left: %q, %v", data, err)
	}
}
