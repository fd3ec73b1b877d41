package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// indexCacheBytes is the memory that all indexes share.
const indexCacheBytes = 48 << 20

// indexCache is the cache that all indexes share. It is made for the first of them.
type indexCache struct {
	once  sync.Once
	cache atomic.Pointer[identity.Cache] // nil: no index is open
}

func (c *indexCache) get() *identity.Cache {
	c.once.Do(func() { c.cache.Store(identity.NewCache(indexCacheBytes)) })
	return c.cache.Load()
}

func (c *indexCache) close() {
	if cache := c.cache.Load(); cache != nil {
		cache.Close()
	}
}

// Links is a project's index of identity links. Its contents are rebuilt from the
// journal when they are missing. It may be used concurrently.
type Links struct {
	config  *config.Project
	path    string
	scratch *datadir.Scratch // nil: the index is in path
	cache   *indexCache
	catalog *catalog.Catalog
	reader  *journal.Reader
	log     *slog.Logger

	opening lifecycle.Gate // held while the index is opened
	index   atomic.Pointer[identity.Index]
	aliases atomic.Pointer[identity.Aliases] // nil: they are not known yet
}

func newLinks(o *shared, c *config.Project, reader *journal.Reader) *Links {
	return &Links{
		config: c, path: o.Dir.Path(datadir.IdentityDir, strconv.FormatInt(c.ID, 10)), scratch: o.Scratch, cache: &o.cache,
		catalog: o.Catalog, reader: reader, log: o.Log, opening: lifecycle.NewGate(),
	}
}

// Index returns the index. It is opened on first use.
func (l *Links) Index(ctx context.Context) (*identity.Index, error) {
	if x := l.index.Load(); x != nil {
		return x, nil
	}
	leave, err := l.opening.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if x := l.index.Load(); x != nil {
		return x, nil
	}
	x, err := l.open()
	if err != nil {
		return nil, err
	}
	l.index.Store(x)
	return x, nil
}

func (l *Links) open() (*identity.Index, error) {
	scratch := ""
	if l.scratch != nil {
		dir, err := l.scratch.Path()
		if err != nil {
			return nil, err
		}
		scratch = filepath.Join(dir, datadir.IdentityDir, strconv.FormatInt(l.config.ID, 10))
	}
	x, err := identity.Open(identity.Options{
		Dir: l.path, Rules: l.config.Identity, Journal: linkJournal{l}, Cache: l.cache.get(), Log: l.log.With("project", l.config.Name), Scratch: scratch,
	})
	if err != nil {
		return nil, fmt.Errorf("project %s: %w", l.config.Name, err)
	}
	return x, nil
}

// Exist reports whether links were ever folded.
func (l *Links) Exist() bool {
	_, err := os.Stat(l.path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Fold folds all sealed links into the index. Aliases that the index then holds leave
// the memory.
func (l *Links) Fold(ctx context.Context) (*identity.Index, error) {
	x, err := l.Index(ctx)
	if err != nil {
		return nil, err
	}
	seq, err := l.catalog.Sequence(ctx, l.config.ID)
	if err != nil {
		return nil, err
	}
	if err := x.Fold(ctx, seq); err != nil {
		return nil, fmt.Errorf("project %s: %w", l.config.Name, err)
	}
	if known := l.Aliases(); known != nil {
		if err := known.Settle(); err != nil {
			return nil, fmt.Errorf("project %s: %w", l.config.Name, err)
		}
	}
	return x, nil
}

// Aliases returns the aliases of a legacy project; nil until LearnAliases has
// returned nil.
func (l *Links) Aliases() *identity.Aliases { return l.aliases.Load() }

// LearnAliases folds the sealed links of a legacy project, whose aliases are known
// from then on.
func (l *Links) LearnAliases(ctx context.Context) error {
	x, err := l.Fold(ctx)
	if err != nil {
		return err
	}
	l.aliases.CompareAndSwap(nil, identity.NewAliases(x))
	return nil
}

func (l *Links) close() error {
	if x := l.index.Swap(nil); x != nil {
		return x.Close()
	}
	return nil
}

// linkJournal is a project's journal as its index of identity links sees it.
type linkJournal struct{ links *Links }

// Links implements identity.Journal.
func (j linkJournal) Links(ctx context.Context, after, to int64, fn func(seq int64, extents []pipeline.Extent) error) error {
	return j.links.catalog.Extents(ctx, j.links.config.ID, journal.KindLinks, after, to, fn)
}

// Extent implements identity.Journal.
func (j linkJournal) Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error {
	return j.links.reader.Extent(ctx, ref, fn)
}

// Segment implements identity.Journal.
func (j linkJournal) Segment(ctx context.Context, seq int64) (string, error) {
	latest, err := j.links.catalog.Sequence(ctx, j.links.config.ID)
	if err != nil || seq > latest {
		return "", err
	}
	return j.links.catalog.Blob(ctx, j.links.config.ID, seq)
}
