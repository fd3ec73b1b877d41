package collector

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// Log makes the rows of a request durable, which are those of one project or of several:
// Append returns when all of them are, or an error, and then none of them is. It keeps
// neither data, parts nor rows, and may change rows. Rows of a part, of KindEvents,
// KindProfiles and KindLinks, come together, those of each kind in the order in which the
// client sent them. Links follow the other rows; of a request with more than mostLinkRows of
// them, some stand between events. marks tell where members of rows of events begin in data;
// there may be none.
//
// After an error the client is asked to try again; it is asked to wait longer
// when the error is wal.ErrFull.
type Log interface {
	Append(ctx context.Context, parts []rowlog.Part, data []byte, marks []rowmark.Mark) error
}

// Rejects keeps records that are refused while their client is not told which:
// it returns when they are kept, or were counted because the quarantine is
// full. After an error the whole request is refused, to be tried again. Nothing
// of records may be kept without copying it.
type Rejects interface {
	Reject(ctx context.Context, records []Reject) error
}

// Reject is a record that was refused.
type Reject struct {
	Project  int64  // 0: not known
	Endpoint string // "track", "import", "engage" or "groups"
	Reason   schema.Reason
	Detail   string
	Record   []byte // the record, or the body when it is not JSON, whole and as sent
}

// Further reasons why records are refused.
const (
	NoToken           schema.Reason = "no_token"
	UnknownToken      schema.Reason = "unknown_token"
	NoOperation       schema.Reason = "no_operation"
	NoGroup           schema.Reason = "no_group"
	ProfilesElsewhere schema.Reason = "profiles_from_mixpanel"
)

// Project is a project that records may be for.
type Project struct {
	ID       int64
	Token    string // not empty; each has its own
	Identity schema.Identity
	// NoProfiles refuses operations on profiles: another source writes them.
	NoProfiles bool
}

// Account is a service account, which may import into all projects.
type Account struct {
	Username, Secret string
}

// Options configure a Collector. Zero means the default, given after each field. Set
// replaces those that Settings have, too.
type Options struct {
	Projects []Project // required
	Access

	MaxBody  int64         // bytes of a body, decompressed; 10,000,000
	InFlight int64         // bytes that all requests in flight hold together; 24 MiB
	Wait     time.Duration // how long a request waits for room in that; 5 s
	BodyTime time.Duration // how long a body may take; 60 s
	BodyStep time.Duration // how long the next 16 KiB of a body, or its rest, may take; 10 s
	// OldestTrack is how far back an event through /track may lie; 5 days. Older
	// ones are refused: they are for /import.
	OldestTrack time.Duration

	Log     Log     // required
	Rejects Rejects // required
	Aliases Aliases // required when a project is of legacy identity
	Geo     schema.Geo
	// Address is the client's address; that of the connection. A caller behind a
	// proxy may know a better one.
	Address func(*http.Request) netip.Addr
	Ready   func() error // why records cannot be taken now; nil: always ready
	Now     func() time.Time
	Random  io.Reader // for generated ids; crypto/rand
	Logger  *slog.Logger
}

// parser is lent to a request while it turns records into rows.
type parser struct {
	*schema.Collector
	linkRows []byte // memory
}

// MaxRecords is the most records of a request.
const MaxRecords = 2000

// Collector is the HTTP handler. It may be used concurrently; it has no
// goroutines of its own.
type Collector struct {
	o        Options
	log      *slog.Logger
	settings atomic.Pointer[settings] // may be replaced while requests are served

	budget  *budget
	parsers chan *parser // as many as may work at the same time
	scratch sync.Pool    // of *request
	rows    sync.Pool    // of *[]journal.Row
	marks   sync.Pool    // of *[]rowmark.Mark
	linked  linked
	counts  counts
	serial  serial // for the keys of profile operations
	flights flights

	draining   atomic.Bool
	complaints complaints
}

// New returns a collector.
func New(o Options) (*Collector, error) {
	if o.Log == nil || o.Rejects == nil || len(o.Projects) == 0 {
		return nil, errors.New("a collector needs a log, rejects and a project")
	}
	if o.Aliases == nil && slices.ContainsFunc(o.Projects, func(p Project) bool { return p.Identity == schema.Legacy }) {
		return nil, errors.New("a collector needs the aliases of legacy projects")
	}
	defaults(&o)
	c := &Collector{
		o: o, log: o.Logger, budget: newBudget(o.InFlight, o.Wait), complaints: complaints{log: o.Logger},
	}
	if err := c.Set(Settings{Projects: o.Projects, Access: o.Access, MaxBody: o.MaxBody, Geo: o.Geo}); err != nil {
		return nil, err
	}
	if err := c.serial.begin(o.Random); err != nil {
		return nil, err
	}
	workers := runtime.GOMAXPROCS(0)
	c.parsers = make(chan *parser, workers)
	for range workers {
		var seed [32]byte
		if _, err := io.ReadFull(o.Random, seed[:]); err != nil {
			return nil, fmt.Errorf("read random bytes: %w", err)
		}
		c.parsers <- &parser{Collector: schema.NewCollector(seed)}
	}
	return c, nil
}

func defaults(o *Options) {
	if o.InFlight == 0 {
		o.InFlight = 24 << 20
	}
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	if o.BodyTime == 0 {
		o.BodyTime = 60 * time.Second
	}
	if o.BodyStep == 0 {
		o.BodyStep = 10 * time.Second
	}
	if o.OldestTrack == 0 {
		o.OldestTrack = 5 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Address == nil {
		o.Address = remote
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
}

// remote is the address of the connection's other end.
func remote(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
}

// serial numbers profile operations. A number differs from all others, also after
// a restart.
type serial struct {
	prefix [16]byte
	next   atomic.Uint64
}

func (s *serial) begin(random io.Reader) error {
	if _, err := io.ReadFull(random, s.prefix[:]); err != nil {
		return fmt.Errorf("read random bytes: %w", err)
	}
	return nil
}
