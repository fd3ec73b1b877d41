package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// Certificate is a certificate in files that may be renewed while it is used. No
// connection waits while another one has the files read. It may be used concurrently.
type Certificate struct {
	cert, key string
	log       *slog.Logger
	reading   lifecycle.Gate // held while the files are read
	current   atomic.Pointer[pair]
	config    *tls.Config // of connections; one for all, so that sessions are resumed
}

// pair is a certificate with its key.
type pair struct {
	loaded *tls.Certificate
	stamp  [2]time.Time // times of modification of the files that were read last
}

// LoadCertificate reads the certificate of a server in a file, with its key in another.
// The files are read again when they were written since the last time; while
// they do not fit each other, the certificate that was loaded last is used. It is nil for
// cert "": a server without TLS.
func LoadCertificate(cert, key string, log *slog.Logger) (*Certificate, error) {
	if cert == "" {
		return nil, nil
	}
	c := &Certificate{cert: cert, key: key, log: log, reading: lifecycle.NewGate()}
	if err := c.load(c.written()); err != nil {
		return nil, err
	}
	c.config = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}
	return c, nil
}

// get returns the certificate that is in the files. During its renewal, another
// connection gets the one before.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	leave, entered := c.reading.TryEnter()
	if !entered {
		return c.current.Load().loaded, nil
	}
	defer leave()
	if stamp := c.written(); stamp != c.current.Load().stamp {
		if err := c.load(stamp); err != nil {
			c.log.Warn("could not load the renewed certificate; the one before is still used", "error", err)
			c.current.Store(&pair{loaded: c.current.Load().loaded, stamp: stamp})
		}
	}
	return c.current.Load().loaded, nil
}

// IsOf reports whether LoadCertificate returned c for two files; nil is that of cert "".
func (c *Certificate) IsOf(cert, key string) bool {
	if c == nil {
		return cert == ""
	}
	return c.cert == cert && c.key == key
}

// Reload reads the files, whether or not they were written since the last time. After an
// error, as when they do not fit each other, the certificate that was loaded last is used.
func (c *Certificate) Reload(ctx context.Context) error {
	leave, err := c.reading.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return c.load(c.written())
}

// load reads the files, which were written at stamp.
func (c *Certificate) load(stamp [2]time.Time) error {
	loaded, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("read the certificate %s with the key %s: %w", c.cert, c.key, err)
	}
	c.current.Store(&pair{loaded: &loaded, stamp: stamp})
	return nil
}

// written returns when the files were written; zero for a file that is missing.
func (c *Certificate) written() (stamp [2]time.Time) {
	for i, path := range [...]string{c.cert, c.key} {
		if info, err := os.Stat(path); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}
