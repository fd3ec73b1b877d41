package snowflake

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
)

// An upload is given up after as many ticks without progress as make up the time of a
// stall: bytes, connections and answers are progress. It is not where bytes are not
// counted, and while the driver prepares the file.
func TestTransfer(t *testing.T) {
	var bytes uint64
	known := true
	var gaveUp error
	watched := func() *transfer {
		gaveUp = nil
		tr := &transfer{giveUp: func(err error) { gaveUp = err }, stall: time.Hour, measure: func(net.Conn) (uint64, bool) { return bytes, known }, silence: time.NewTimer(time.Hour)}
		t.Cleanup(tr.end)
		return tr
	}
	ticks := func(tr *transfer, n int) {
		for range n {
			tr.tick()
		}
	}
	conn, other := net.Pipe()
	t.Cleanup(func() { _ = conn.Close(); _ = other.Close() })
	tr := watched()
	tr.advance(conn) // to the service, which has not answered
	if tr.answer(); tr.ticker != nil {
		t.Error("the storage is watched before it is turned to")
	}
	tr.advance(conn)
	for range 3 { // one byte in each time of a stall but one tick
		bytes++
		ticks(tr, stallTicks)
	}
	tr.answer()
	ticks(tr, stallTicks)
	tr.advance(nil)
	if ticks(tr, stallTicks); gaveUp != nil {
		t.Errorf("an upload with progress: %v", gaveUp)
	}
	if tr.tick(); !errors.Is(gaveUp, errStalled) {
		t.Errorf("an upload without progress: %v", gaveUp)
	}
	known = false
	tr = watched()
	tr.answer()
	tr.advance(conn)
	if ticks(tr, 3*stallTicks); gaveUp != nil {
		t.Errorf("bytes are not known: %v", gaveUp)
	}
	known, bytes = true, 0 // the connection is closed, and none is made
	if ticks(tr, stallTicks+1); !errors.Is(gaveUp, errStalled) {
		t.Errorf("without a connection: %v", gaveUp)
	}
}

// stallingProxy passes on what clients of a server send until its time has come, and then
// reads no more.
type stallingProxy struct {
	address string
	limit   int64 // bytes of each connection that are passed on
}

func startStallingProxy(t *testing.T, target string, limit int64) *stallingProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &stallingProxy{address: listener.Addr().String(), limit: limit}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	serving.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = in.Close() })
			_ = in.(*net.TCPConn).SetReadBuffer(256 << 10) // else the system may take the whole file
			out, err := net.Dial("tcp", target)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = out.Close() })
			serving.Go(func() { _, _ = io.Copy(in, out) })
			serving.Go(func() { _, _ = io.CopyN(out, in, p.limit) })
		}
	})
	return p
}

// An upload to an internal stage whose storage stops reading is given up, and the run is
// tried again.
func TestAStalledUploadIsGivenUp(t *testing.T) {
	stages := standin.StartS3TLS(t, "stages")
	at, err := url.Parse(stages.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	const size = 24 << 20 // more than the buffers of connections hold
	proxy := startStallingProxy(t, at.Host, size/8)
	w := newWarehouse(t, standin.SnowflakeOptions{Stages: stages, StageEndpoint: proxy.address})
	config := w.config()
	run, c := testRun(sdk.Events, 1, 1), events("one", "2026-06-01")
	d := openAt(t, config, func(d *destination) { d.connector.patience.stall = 400 * time.Millisecond })
	if _, err := d.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), partName(1))
	if err := os.WriteFile(large, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := d.attempt(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.upload(a, large); !errors.Is(err, errStalled) || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("the upload: %v", err)
	}
	run.Fence++
	if n, err := whole(t.Context(), func() *destination { return openAt(t, config) }, run, c); err != nil || n != 1 {
		t.Error(n, err)
	}
	w.expect(t, config, sdk.Events, c.want())
}
