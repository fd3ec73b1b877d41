package wal

import "fmt"

// Loss is a part of a log that was there once and is neither in the log nor in
// journals.
type Loss struct {
	// First to Last are the entries that are missing. Last is 0 when nothing tells
	// how many were acknowledged: perhaps none was.
	First, Last uint64
	// Gone reports that no file of the log holds an entry. Otherwise its end is
	// missing.
	Gone bool
	// Cut is the file that Open keeps half an entry in that it cuts; "": there is
	// none.
	Cut string
}

func (l Loss) String() string {
	event := "the end of the write-ahead log is missing"
	if l.Gone {
		event = "the files of the write-ahead log are gone or empty"
	}
	switch l.Last {
	case 0:
		return fmt.Sprintf("%s: requests that were acknowledged after entry %d, the last one in the journal, may be lost", event, l.First-1)
	case l.First:
		return fmt.Sprintf("%s: entry %d is lost; its request was acknowledged", event, l.First)
	}
	return fmt.Sprintf("%s: entries %d to %d are lost; their %d requests were acknowledged", event, l.First, l.Last, l.Last-l.First+1)
}

// loss compares the log with its mark and with the last entry that journals
// hold; nil when nothing is missing.
func (f *found) loss(after uint64) *Loss {
	l := &Loss{First: max(f.last, after) + 1, Gone: len(f.files) == 0}
	switch {
	case f.marked && f.mark >= l.First:
		l.Last = f.mark
		if f.torn > 0 {
			l.Cut = nameOf(f.files[len(f.files)-1].first) + cutSuffix
		}
		return l
	case f.marked, len(f.files) > 0:
		return nil
	case l.First > 1:
		// A log that had entries always has a file with a header: only a host that
		// wrote no mark yet could end between two files.
		return l
	}
	return nil
}

// Missing reports the entries that are missing from a log that is not open; nil
// when none are.
// It reads the newest file alone, and changes nothing. after is the last entry
// that journals hold. *DamagedError: see Open.
func Missing(fs FileSystem, after uint64) (*Loss, error) {
	f, err := look(fs, false)
	if err != nil {
		return nil, fmt.Errorf("look at write-ahead log: %w", err)
	}
	return f.loss(after), nil
}

// Report is the result of Verify.
type Report struct {
	First, Last uint64 // indexes; Last+1 == First: the log is empty
	Bytes       int64
	Torn        int64 // bytes that the next Open cuts
	Loss        *Loss // nil: nothing is missing
}

// Verify reads all of a log that is not open, and changes nothing. after is the
// last entry that journals hold. *DamagedError and *BehindError: see Open.
func Verify(fs FileSystem, after uint64) (*Report, error) {
	f, err := look(fs, true)
	if err != nil {
		return nil, fmt.Errorf("verify write-ahead log: %w", err)
	}
	r := &Report{First: f.last + 1, Last: f.last, Torn: f.torn, Loss: f.loss(after)}
	for i, file := range f.files {
		if i == 0 {
			r.First = file.first
		}
		r.Bytes += file.size
	}
	if f.last < after && len(f.files) > 0 {
		return r, fmt.Errorf("verify write-ahead log: %w", &BehindError{Last: f.last, After: after})
	}
	return r, nil
}
