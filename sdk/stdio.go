package sdk

import (
	"context"
	"os"
	"sync"

	"google.golang.org/grpc"
)

// stdio undoes go-plugin's redirection of standard output and error. go-plugin
// reads the real standard output line by line, so that 64 KiB without a newline
// block the writer for ever, and it replaces os.Stdout and os.Stderr by pipes
// that may have no reader. Here both end in the real standard error, which the
// host always reads.
type stdio struct {
	once     sync.Once
	out, err *os.File
	// handshake is the original standard output. The reference keeps it open: a
	// File without a reference is closed, and the host takes the end of the
	// stream for the end of the plugin. out and err keep the files of package os
	// open for the same reason.
	handshake *os.File
}

// restore is called at the first call of the host: go-plugin has then done its
// part.
func (s *stdio) restore() {
	s.once.Do(func() { os.Stdout, os.Stderr = s.out, s.err })
}

func (s *stdio) interceptors() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			s.restore()
			return next(ctx, r)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			s.restore()
			return next(srv, stream)
		}),
	}
}
