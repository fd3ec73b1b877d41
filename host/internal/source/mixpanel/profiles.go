package mixpanel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// profilesFile is the spool of profiles. A process that dies leaves it to the next
// read, which begins it again.
const profilesFile = "profiles"

// ProfileSet is a whole set of profiles, in a file.
type ProfileSet struct {
	Began time.Time // when the first page was asked for
	Total int64
	path  string
}

// Each calls fn with each profile, as JSON on one line without its newline, valid
// until fn returns.
func (p *ProfileSet) Each(fn func(profile []byte) error) (err error) {
	f, err := private.OpenFile(p.path, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("read profiles: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(s2.NewReader(f))
	lines.Buffer(nil, maxPage)
	for lines.Scan() {
		if err := fn(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read profiles: %w", err)
	}
	return nil
}

// ProfilesDue returns when all profiles are to be read again, if they are read every
// so often.
func (s *Source) ProfilesDue(every time.Duration) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.profiles.Began == 0 {
		return time.Time{}
	}
	return time.UnixMilli(s.profiles.Began).Add(every)
}

// ReadProfiles reads all profiles and hands the whole set to replace, with the move
// of the cursor that belongs to it. A read that does not reach its end, or whose
// number of profiles is not the total that the first page says, is an error, and
// replace is not called.
func (s *Source) ReadProfiles(ctx context.Context, progress func(profiles, total int64), replace func(context.Context, *ProfileSet, journal.CursorMove) error) error {
	leave, err := enter(ctx, s.full)
	if err != nil {
		return err
	}
	defer leave()
	set := &ProfileSet{path: filepath.Join(s.o.Dir, profilesFile)}
	err = s.readProfiles(ctx, set, progress)
	if err == nil {
		err = s.refresh(ctx, &s.staleProfiles, isProfiles)
	}
	if err == nil {
		move := s.profilesMove(set)
		if err = replace(ctx, set, move); err == nil {
			s.setProfiles(move)
		} else {
			s.distrust(&s.staleProfiles)
		}
	}
	return errors.Join(err, ignoreMissing(os.Remove(set.path)))
}

func (s *Source) profilesMove(set *ProfileSet) journal.CursorMove {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.move(profilesPosition, profilesState{Began: set.Began.UnixMilli(), Total: set.Total})
}

func (s *Source) setProfiles(m journal.CursorMove) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The value was encoded above.
	_ = s.learn(m.Position, m.To)
}

func isProfiles(position string) bool { return position == profilesPosition }

// readProfiles reads all pages into the file of a set.
func (s *Source) readProfiles(ctx context.Context, set *ProfileSet, progress func(profiles, total int64)) (err error) {
	f, err := private.OpenFile(set.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("spool profiles: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := s2.NewWriter(f, s2.WriterConcurrency(1))
	read, session, line := int64(0), "", []byte(nil)
	for number := 0; ; number++ {
		p, err := s.page(ctx, session, number)
		if err != nil {
			return err
		}
		if number == 0 {
			if p.Session == "" || p.Total == nil {
				return truncated(nil, "the first page of profiles has no session_id or no total")
			}
			session, set.Total = p.Session, *p.Total
			set.Began = s.o.Now()
		}
		if p.Page != number || p.Session != session && p.Session != "" {
			return truncated(nil, "page %d of profiles was asked for, and page %d of another session came", number, p.Page)
		}
		for _, profile := range p.Results {
			if line, err = appendLine(line[:0], profile); err != nil {
				return err
			}
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("spool profiles: %w", err)
			}
		}
		if read += int64(len(p.Results)); progress != nil {
			progress(read, set.Total)
		}
		if len(p.Results) == 0 || len(p.Results) < p.PageSize {
			break
		}
	}
	if read != set.Total {
		return truncated(nil, "the first page said that there are %d profiles, and %d came", set.Total, read)
	}
	return w.Close()
}

// appendLine appends a profile on one line.
func appendLine(dst []byte, profile Profile) ([]byte, error) {
	if len(profile) == 0 || profile[0] != '{' {
		return dst, truncated(nil, "a profile is not an object: %.40q", []byte(profile))
	}
	return append(schema.Compact(dst, profile), '\n'), nil
}

// patience is how many times a page is asked for, so that a read of many pages does
// not begin again for each transient error.
const patience = 5

// pagePause is half of the first pause before a page is asked for again. Each is
// twice as long as the one before.
const pagePause = time.Second

// page asks for a page within the budget. Pages after the first do not count
// against the hourly limit, but a refusal is honoured.
func (s *Source) page(ctx context.Context, session string, number int) (*page, error) {
	for attempt := 1; ; attempt++ {
		release, err := s.o.Profiles.Acquire(ctx, session != "")
		if err != nil {
			return nil, err
		}
		p, err := s.asker().profiles(ctx, session, number)
		release()
		if settleErr := s.o.Profiles.Settle(ctx, err); settleErr != nil {
			return nil, errors.Join(err, settleErr)
		}
		if err == nil {
			return p, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if NeedsPerson(err) || attempt == patience {
			return nil, fmt.Errorf("read profiles: %w", err)
		}
		if KindOf(err) != TooMany {
			if err := s.o.Profiles.wait(ctx, pagePause<<attempt); err != nil {
				return nil, err
			}
		}
	}
}
