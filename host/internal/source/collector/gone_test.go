package collector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// patientLog is a log whose Append waits until the server has noticed that the
// client has closed its connection.
type patientLog struct {
	book
	gone     chan (<-chan struct{}) // done channels of requests' contexts
	appended chan error
}

func (l *patientLog) Append(ctx context.Context, parts []rowlog.Part, data []byte, marks []rowmark.Mark) error {
	<-<-l.gone
	err := context.Cause(ctx)
	if err == nil {
		err = l.book.Append(ctx, parts, data, marks)
	}
	l.appended <- err
	return err
}

// A request whose body is complete is stored whatever its client does
// afterwards: PHP's socket consumer closes behind its last byte, and so do
// browsers that leave a page.
func TestClientsThatDoNotWait(t *testing.T) {
	body := "data=" + ev(`,"$insert_id":"i"`)
	posted := fmt.Sprintf("POST /track HTTP/1.1\r\nHost: in.example.com\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", asForm, len(body), body)
	asked := "GET /track?data=" + b64(ev("")) + " HTTP/1.1\r\nHost: in.example.com\r\n\r\n"
	for _, test := range []struct {
		name, request string
		leave         func(*net.TCPConn) error
		answered      bool
	}{
		{"POST, closed", posted, (*net.TCPConn).Close, false},
		{"GET, closed", asked, (*net.TCPConn).Close, false},
		{"POST, reset", posted, reset, false},
		{"GET, reset", asked, reset, false},
		{"POST, half closed", posted, (*net.TCPConn).CloseWrite, true},
		{"GET, half closed", asked, (*net.TCPConn).CloseWrite, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &patientLog{gone: make(chan (<-chan struct{}), 1), appended: make(chan error, 1)}
			o := options(&log.book)
			o.Log = log
			c := newCollector(t, o)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				log.gone <- r.Context().Done()
				c.ServeHTTP(w, r)
			}))
			defer server.Close()
			conn := dial(t, server)
			if _, err := io.WriteString(conn, test.request); err != nil {
				t.Fatal(err)
			}
			if err := test.leave(conn); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-log.appended:
				if err != nil || len(log.taken()) != 1 {
					t.Errorf("the event is not stored: %v", err)
				}
			case <-time.After(time.Minute):
				t.Fatal("the event does not reach the log")
			}
			if !test.answered {
				if err := c.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				return
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || string(text) != "1" {
				t.Errorf("%d %s %v", answer.StatusCode, text, err)
			}
			if err := errors.Join(answer.Body.Close(), conn.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func dial(t *testing.T, server *httptest.Server) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// reset closes a connection with RST.
func reset(conn *net.TCPConn) error { return errors.Join(conn.SetLinger(0), conn.Close()) }
