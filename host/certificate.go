package host

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a certificate in files that may be renewed while it is used.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  [2]time.Time // times of modification of the files that were read last
}

// certificates are the settings of a listener with a certificate and its key.
// The files are read again when they were written since the last time; while
// they do not fit each other, the certificate that was loaded last is used.
func certificates(cert, key string, log *slog.Logger) (*tls.Config, error) {
	c := &certificate{cert: cert, key: key, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamp := c.written(); stamp != c.stamp {
		if err := c.load(); err != nil {
			c.log.Warn("could not load the renewed certificate; the one before is still used", "error", err)
		}
	}
	return c.loaded, nil
}

func (c *certificate) load() error {
	c.stamp = c.written()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("read the certificate %s with the key %s: %w", c.cert, c.key, err)
	}
	c.loaded = &pair
	return nil
}

// written is when the files were written; zero where there is none.
func (c *certificate) written() (stamp [2]time.Time) {
	for i, path := range [...]string{c.cert, c.key} {
		if info, err := os.Stat(path); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}
