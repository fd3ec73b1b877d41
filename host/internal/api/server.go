package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// maxRequest bounds a request's body.
const maxRequest = 1 << 20

// Operation answers one request. params is its JSON body, nil when it had
// none; the result is sent as JSON.
type Operation func(ctx context.Context, params json.RawMessage) (any, error)

// Server serves operations on a unix socket.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan error
}

// Listen starts to serve operations, by path below /api/v1/, on the socket at
// path. A left-over socket of a dead process is replaced: the caller holds the
// data directory's lock. Close stops it.
func Listen(path string, operations map[string]Operation) (*Server, error) {
	if err := removeSocket(path); err != nil {
		return nil, fmt.Errorf("remove left-over socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), listener.Close())
	}
	mux := http.NewServeMux()
	for name, operation := range operations {
		mux.Handle("POST /api/v1/"+name, handler(operation))
	}
	s := &Server{
		http:     &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		listener: listener,
		done:     make(chan error, 1),
	}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

// removeSocket removes a left-over socket, and nothing else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is not a socket: move it away", path)
	}
	return os.Remove(path)
}

// Close stops the server: it waits for requests under way until ctx is done,
// then cuts them, and removes the socket.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	if serveErr := <-s.done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// failure is the body of an answer that is an error.
type failure struct {
	Error string `json:"error"`
}

func handler(operation Operation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		params, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			answer(w, http.StatusRequestEntityTooLarge, failure{err.Error()})
			return
		}
		result, err := operation(r.Context(), params)
		if err != nil {
			answer(w, http.StatusInternalServerError, failure{err.Error()})
			return
		}
		answer(w, http.StatusOK, result)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client that went away is the only reader of this error.
	_ = json.NewEncoder(w).Encode(body)
}
