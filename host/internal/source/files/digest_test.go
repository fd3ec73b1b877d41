package files

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
)

// checkSums compares the hashes of moved cursors with those of the content.
func checkSums(t *testing.T, content string, moves []journal.CursorMove) {
	t.Helper()
	for _, m := range moves {
		c, err := decodeCursor(m.To)
		if err != nil {
			t.Error(err)
			continue
		}
		before := content[:c.Offset]
		digest := xxh3.HashString128(before).Bytes()
		if want := hex.EncodeToString(digest[:]); c.Sum != want {
			t.Errorf("the sum of %d bytes is %s, want %s", c.Offset, c.Sum, want)
		}
		if want := sum([]byte(before[len(before)-c.TailSize:])); c.Tail != want || c.TailSize == 0 {
			t.Errorf("the tail of %d bytes is %s of %d, want %s", c.Offset, c.Tail, c.TailSize, want)
		}
	}
}

// contents returns files of records, and their bytes as they are read.
func contents() map[string]struct{ stored, content string } {
	var lines strings.Builder
	for n := range 2000 {
		lines.WriteString(record(n) + "\n")
	}
	text := lines.String()
	array := "[" + strings.ReplaceAll(strings.TrimSpace(text), "\n", ",") + "]"
	return map[string]struct{ stored, content string }{"lines": {text, text}, "array": {array, array}, "lines.gz": {gz(text), text}}
}

// Cursors have the hash of the content up to their offset, whichever piece is given back
// first, and whatever is written to its buffer afterwards.
func TestPiecesAreHashedInTheirOrder(t *testing.T) {
	for name, file := range contents() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				r := rand.New(rand.NewPCG(1, seed))
				dir := t.TempDir()
				write(t, dir, "a.json", file.stored)
				s := open(t, Options{Pattern: dir + "/*"}, 1<<10)
				var pieces []*ingest.Piece
				for range 30 {
					p, err := s.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					pieces = append(pieces, p)
				}
				var releasing sync.WaitGroup
				order := r.Perm(len(pieces))
				for first := range 3 {
					releasing.Go(func() {
						for i := first; i < len(order); i += 3 {
							p := pieces[order[i]]
							p.Release()
							clear(p.Data)
						}
					})
				}
				if seed%2 == 0 {
					releasing.Wait()
				}
				for _, p := range pieces {
					checkSums(t, file.content, p.Cursor(0))
				}
				releasing.Wait()
			}
		})
	}
}

// checker is an appender that checks the cursors that it gets.
type checker struct {
	t       *testing.T
	content string
	last    int64
}

func (c *checker) Append(_ context.Context, chunk journal.Chunk) error {
	checkSums(c.t, c.content, chunk.Cursors)
	for _, m := range chunk.Cursors {
		moved, err := decodeCursor(m.To)
		if err != nil {
			return err
		}
		c.last = moved.Offset
	}
	return nil
}

func TestPiecesAreHashedWhileOthersAreRead(t *testing.T) {
	for name, file := range contents() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "a.json", file.stored)
			s := open(t, Options{Pattern: dir + "/*"}, 1<<10)
			c := &checker{t: t, content: file.content}
			err := ingest.Run(t.Context(), ingest.Options{Source: s, Appender: c, Rejects: nowhere{}, Now: time.Now, Counters: &ingest.Counters{}, Workers: 4})
			if err != nil || c.last != int64(len(file.content)) {
				t.Fatalf("%d of %d bytes were read: %v", c.last, len(file.content), err)
			}
		})
	}
}

// A copy is recognised by the hash of a file whose pieces were neither given back nor
// asked for their cursors.
func TestPiecesThatAreNotReleasedAreHashed(t *testing.T) {
	dir := t.TempDir()
	content := contents()["lines"].content
	write(t, dir, "a.json", content)
	write(t, dir, "b.json", content+"{}\n")
	s := open(t, Options{Pattern: dir + "/*"}, 1<<10)
	var files []string
	for {
		p, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Data) > 0 && (p.File != dir+"/a.json" || p.Base == 0) {
			files = append(files, fmt.Sprintf("%s@%d", p.File[len(dir):], p.Base))
		}
	}
	if want := fmt.Sprintf("[/a.json@0 /b.json@%d]", len(content)); fmt.Sprint(files) != want {
		t.Errorf("pieces begin at %v, want %s", files, want)
	}
}
