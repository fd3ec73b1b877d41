package config

import "sync/atomic"

// Live is the configuration of a host, which a reload replaces. It may be used
// concurrently.
type Live struct{ current atomic.Pointer[Config] }

// NewLive returns a Live with the configuration that a host is started with.
func NewLive(c *Config) *Live {
	l := &Live{}
	l.Set(c)
	return l
}

// Get returns the present configuration, which does not change.
func (l *Live) Get() *Config { return l.current.Load() }

// Set replaces the configuration.
func (l *Live) Set(c *Config) { l.current.Store(c) }
