package segment

import (
	"bytes"
	"errors"
	"slices"
)

// Verify reads every byte of the file. It decompresses blocks and compares their
// rows with the index, and checks the order of keys and their filters. It returns
// every damage, the number of blocks in the index, and the error that ended the
// reading early, if any.
func (f *File) Verify() (damages []error, blocks int64, err error) {
	v := &verifier{f: f}
	for i := range f.index.Extents {
		v.date = f.index.Extents[i].UTCDate
		all := Range{Extent: i, Blocks: len(f.index.Extents[i].Blocks)}
		if err := v.note(f.blocks(all, v.block)); err != nil {
			return v.damages, v.blocks, err
		}
	}
	for i := range f.index.Sections {
		if err := v.section(&f.index.Sections[i]); err != nil {
			return v.damages, v.blocks, err
		}
	}
	return v.damages, v.blocks, nil
}

type verifier struct {
	f       *File
	date    Day // of the extent that is read
	damages []error
	blocks  int64
	decoder Decoder
	page    []byte
	keys    []Key
}

// note keeps a damage and passes other errors on.
func (v *verifier) note(err error) error {
	if errors.Is(err, ErrDamaged) {
		v.damages = append(v.damages, err)
		return nil
	}
	return err
}

func (v *verifier) block(place string, k *BlockInfo, payload []byte) error {
	v.blocks++
	err := v.checkBlock(place, k, payload)
	var damage *DamageError
	if errors.As(err, &damage) {
		damage.Rows, damage.Date = k.Rows, v.date
	}
	return v.note(err)
}

// checkBlock returns a *DamageError if a block is not as it was written.
func (v *verifier) checkBlock(place string, k *BlockInfo, payload []byte) error {
	if err := check(place, payload, k.Checksum); err != nil {
		return err
	}
	lines, err := v.decoder.check(payload, k.RowsBytes, k.RowsCRC32)
	if err != nil {
		return damaged(place, "%v", err)
	}
	if lines != k.Rows {
		return damaged(place, "it holds %d rows, the index says %d", lines, k.Rows)
	}
	if !bytes.HasSuffix(payload, syncFlush) {
		return damaged(place, "it does not end with a sync flush")
	}
	return nil
}

func (v *verifier) section(s *Section) error {
	v.keys = v.keys[:0]
	whole := true
	for p := range s.Pages {
		var err error
		if v.page, err = v.f.Page(s, p, v.page); err != nil {
			whole = false
			if err = v.note(err); err != nil {
				return err
			}
			continue
		}
		for key := range slices.Chunk(v.page, KeySize) {
			v.keys = append(v.keys, Key(key))
		}
		if first := Key(v.page[:KeySize]); first.High() != s.Pages[p].First {
			v.damages = append(v.damages, damaged(pagePlace(s, p), "the index names another first key"))
		}
	}
	filter, err := v.f.Filter(s)
	if err != nil {
		return v.note(err)
	}
	if !whole {
		return nil
	}
	for i, key := range v.keys {
		if i > 0 && v.keys[i-1].Compare(key) >= 0 {
			return v.note(damaged(pagePlace(s, i/PageKeys), "its keys are not in order"))
		}
		if !filter.MayContain(key) {
			return v.note(damaged("filter of "+s.Day.String(), "it leaves out a key"))
		}
	}
	return nil
}
