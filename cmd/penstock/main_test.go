package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/host"
)

func TestStatusSaysEverything(t *testing.T) {
	t.Parallel()
	wrong := &host.ConfigurationError{}
	for _, tt := range []struct {
		err    error
		status int
		said   string
	}{
		{nil, 0, ""},
		{&shownError{3}, 3, ""},
		{usageError{errors.New("what?")}, 2, "penstock: what?\n"},
		{errors.New("no"), 1, "penstock: no\n"},
		{fmt.Errorf("begin: %w", wrong), 2, ""},
		{errors.Join(wrong, errors.New("and the disk")), 2, "penstock: and the disk\n"},
		{errors.Join(errors.Join(wrong, errors.New("one")), errors.New("two")), 2, "penstock: one\npenstock: two\n"},
	} {
		var out bytes.Buffer
		c := &cli{out: &out, err: &out}
		if status := c.status(tt.err); status != tt.status || out.String() != tt.said {
			t.Errorf("%v: status %d, %q", tt.err, status, out.String())
		}
	}
}
