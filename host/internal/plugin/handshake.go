package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// startFailure returns the reason why a process did not become a plugin. It ends
// the process first, so that its output is complete.
func (p *process) startFailure(ctx, sctx context.Context, l launch, err error) error {
	_ = p.run.Kill(ctx)
	if p.run.ID() == "" {
		return &StartError{
			Plugin: l.name, Reason: execReason(err), Notes: append(diagnose(l.binary.f, ""), l.user.diagnose(l.binary)...),
			Final: isInexecutable(err), Err: err,
		}
	}
	if !waitFor(p.run.joined, unkillable) {
		return &StartError{Plugin: l.name, Reason: "it hangs, and does not end by SIGKILL", Err: err}
	}
	diedFirst := p.run.status != "signal: "+syscall.SIGKILL.String() // which is how we end it
	if ctx.Err() != nil {
		return fmt.Errorf("start plugin %s: %w", l.name, context.Cause(ctx))
	}
	e := &StartError{Plugin: l.name, Log: p.logs.last(), Err: err}
	first := p.run.first
	if mismatch := checkHandshake(e, first); mismatch != nil {
		return mismatch
	}
	switch {
	case e.Reason != "":
	case sctx.Err() != nil:
		e.Reason = fmt.Sprintf("it did not get ready within %s", l.timeouts.Start)
	case first.text == "" && diedFirst:
		e.Reason = fmt.Sprintf("it ended (%s) before it said where it listens", p.run.status)
		e.Notes = diagnose(l.binary.f, p.run.status)
	case diedFirst:
		e.Reason = fmt.Sprintf("it ended (%s) before it answered", p.run.status)
	default:
		e.Reason = err.Error()
	}
	return e
}

// checkHandshake reads the line that a plugin prints first:
// CORE|PROTOCOL|NETWORK|ADDRESS|KIND. A fault in it becomes e's
// reason; a protocol version that we do not speak is an error of its own.
func checkHandshake(e *StartError, first firstLine) *ProtocolError {
	if first.text == "" {
		return nil
	}
	fields := strings.Split(strings.TrimSpace(first.text), "|")
	if first.cut || len(fields) < 4 {
		e.Reason = fmt.Sprintf("it printed %s instead of a plugin's handshake line; is it a penstock destination? Nothing else may be printed to standard output before that line",
			strconv.Quote(shorten(first.text)))
		return nil
	}
	theirs, err := strconv.Atoi(fields[1])
	switch {
	case fields[0] != strconv.Itoa(goplugin.CoreProtocolVersion):
		e.Reason = fmt.Sprintf("it speaks version %s of go-plugin's handshake, this host version %d", shorten(fields[0]), goplugin.CoreProtocolVersion)
	case err != nil:
		e.Reason = fmt.Sprintf("its handshake names the protocol version %q, which is not a number", shorten(fields[1]))
	case !slices.Contains(ourVersions(), theirs):
		return &ProtocolError{Plugin: e.Plugin, Theirs: theirs, Ours: ourVersions()}
	case len(fields) < 5 || fields[4] != string(goplugin.ProtocolGRPC):
		e.Reason = "it does not speak gRPC"
	}
	return nil
}

// ourVersions are the protocol versions that this host speaks, ascending.
func ourVersions() []int { return slices.Sorted(maps.Keys(protocol.Plugins(nil))) }

func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
