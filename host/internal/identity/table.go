package identity

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// table is the index as the rules see it: the stored index, and over it the changes
// of a batch's links.
type table struct {
	db     *pebble.DB
	counts *counts

	ids      map[key]entry
	clusters map[uint64]*cluster
	dirty    map[key]struct{} // ids whose mapping has changed; nil: they are not kept
	failures []Failure
	buffer   []byte
}

// entry is the value that rules keep of an id.
type entry struct {
	value   string
	present bool
	changed bool
}

// numberSize is the length of the cluster's number, big-endian, with which an id's
// value begins. The head's id follows.
const numberSize = 8

// cluster is ids that are one person, at least two.
type cluster struct {
	number     uint64
	head       key
	identified bool
	since      uint64 // which of the clusters was there first; of identified ones, which was identified first
	size       int

	stored  bool // it was there before the batch
	changed bool
	gone    bool
	added   []key // members that are not stored
	removed []key // stored members of one that is gone
}

// count returns the number of ids in a cluster; 1 for nil, an id without a cluster.
func (c *cluster) count() int {
	if c == nil {
		return 1
	}
	return c.size
}

func newTable(db *pebble.DB, counts *counts, keepChanges bool) *table {
	t := &table{db: db, counts: counts, ids: map[key]entry{}, clusters: map[uint64]*cluster{}}
	if keepChanges {
		t.dirty = map[key]struct{}{}
	}
	return t
}

// size is how much the table holds, in entries.
func (t *table) size() int { return len(t.ids) + len(t.clusters) + len(t.dirty) + len(t.failures) }

// load reads a value, which is valid until done is called.
func (t *table) load(stored []byte, fn func(value []byte) error) (bool, error) {
	value, closer, err := t.db.Get(stored)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(fn(value), closer.Close())
}

// get returns the value that the rules keep of an id, and whether there is one.
func (t *table) get(k key) (string, bool, error) {
	if e, ok := t.ids[k]; ok {
		return e.value, e.present, nil
	}
	var e entry
	t.buffer = idKey(t.buffer[:0], k)
	var err error
	e.present, err = t.load(t.buffer, func(value []byte) error {
		e.value = string(value)
		return nil
	})
	if err != nil {
		return "", false, fmt.Errorf("look up an id: %w", err)
	}
	t.ids[k] = e
	return e.value, e.present, nil
}

// manyLookups is from how many on an iterator is faster.
const manyLookups = 1024

// prefetch looks ids up in the order in which they are stored, which is
// several times faster than in that of links, and the clusters that they are in.
func (t *table) prefetch(ids []key, clusters bool) error {
	if len(ids) < manyLookups {
		return nil // get does it
	}
	slices.Sort(ids)
	stored, err := t.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("look up ids: %w", err)
	}
	var numbers []uint64
	// A key is its own prefix, so that filters say of most tables that they do not
	// have it.
	for _, k := range slices.Compact(ids) {
		var e entry
		t.buffer = idKey(t.buffer[:0], k)
		if e.present = stored.SeekPrefixGE(t.buffer); e.present {
			e.value = string(stored.Value())
		}
		t.ids[k] = e
		if clusters && len(e.value) > numberSize {
			numbers = append(numbers, binary.BigEndian.Uint64([]byte(e.value)))
		}
	}
	slices.Sort(numbers)
	for _, number := range slices.Compact(numbers) {
		t.buffer = numberKey(t.buffer[:0], spaceCluster, number)
		if err == nil && stored.SeekPrefixGE(t.buffer) {
			c := &cluster{number: number, stored: true}
			err = c.decode(stored.Value())
			t.clusters[number] = c
		}
	}
	if err = errors.Join(err, stored.Error(), stored.Close()); err != nil {
		return fmt.Errorf("look up ids: %w", err)
	}
	return nil
}

func (t *table) set(k key, value string) {
	t.ids[k] = entry{value: value, present: true, changed: true}
}

// changed notes that the id stands for another target than before.
func (t *table) changed(k key) {
	if t.dirty != nil {
		t.dirty[k] = struct{}{}
	}
}

// clusterOf is the cluster of an id, or nil.
func (t *table) clusterOf(k key) (*cluster, error) {
	value, ok, err := t.get(k)
	if err != nil || !ok {
		return nil, err
	}
	if len(value) < numberSize {
		return nil, damaged("the number of an id's cluster has %d bytes", len(value))
	}
	number := binary.BigEndian.Uint64([]byte(value))
	if c := t.clusters[number]; c != nil {
		return c, nil
	}
	c, err := t.loadCluster(number)
	if err != nil {
		return nil, err
	}
	t.clusters[number] = c
	return c, nil
}

func (t *table) loadCluster(number uint64) (*cluster, error) {
	c := &cluster{number: number, stored: true}
	t.buffer = numberKey(t.buffer[:0], spaceCluster, number)
	ok, err := t.load(t.buffer, c.decode)
	if err != nil {
		return nil, fmt.Errorf("read cluster %d: %w", number, err)
	}
	if !ok {
		return nil, damaged("there is no cluster %d", number)
	}
	return c, nil
}

func (c *cluster) encode(dst []byte) []byte {
	identified := byte(0)
	if c.identified {
		identified = 1
	}
	dst = binary.AppendUvarint(append(dst, identified), c.since)
	return append(binary.AppendUvarint(dst, uint64(c.size)), c.head...)
}

func (c *cluster) decode(value []byte) error {
	if len(value) == 0 {
		return damaged("a cluster is empty")
	}
	c.identified = value[0] == 1
	since, n := binary.Uvarint(value[1:])
	if n <= 0 {
		return damaged("a cluster is cut short")
	}
	size, m := binary.Uvarint(value[1+n:])
	rest := value[min(1+n+max(m, 0), len(value)):]
	if m <= 0 || len(rest) < hashSize || size < 2 {
		return damaged("a cluster is cut short")
	}
	c.since, c.size, c.head = since, int(size), key(rest)
	return nil
}

// join makes one cluster of the clusters a and b, nil if there is none yet, of
// two ids. Its head is that of the identified one, or else of the older one.
func (t *table) join(first, second key, a, b *cluster) (*cluster, error) {
	t.counts.Mappings++
	switch {
	case a == nil && b == nil:
		c := &cluster{number: t.counts.Clusters, head: first, since: t.counts.Since}
		t.counts.Clusters++
		t.counts.Since++
		t.clusters[c.number] = c
		t.add(c, first)
		t.add(c, second)
		t.changed(second)
		t.counts.IDs += 2
		return c, nil
	case a == nil:
		t.add(b, first)
		t.changed(first)
		t.counts.IDs++
		return b, nil
	case b == nil:
		t.add(a, second)
		t.changed(second)
		t.counts.IDs++
		return a, nil
	}
	stays := a
	if b.identified != a.identified && b.identified || b.identified == a.identified && b.since < a.since {
		stays = b
	}
	head, identified, since := stays.head, stays.identified, stays.since
	into, from := a, b
	if from.size > into.size {
		into, from = from, into
	}
	if err := t.pour(into, from); err != nil {
		return nil, err
	}
	into.identified, into.since = identified, since
	return into, t.turn(into, head)
}

// value returns the table's value of the cluster's ids.
func (c *cluster) value() string {
	var room [128]byte
	return string(append(binary.BigEndian.AppendUint64(room[:0], c.number), c.head[hashSize:]...))
}

// add adds an id to a cluster.
func (t *table) add(c *cluster, k key) {
	t.set(k, c.value())
	c.added = append(c.added, k)
	c.size++
	c.changed = true
}

// pour moves all ids of a cluster into another.
func (t *table) pour(into, from *cluster) error {
	err := t.members(from, func(k key, stored bool) {
		t.add(into, k)
		t.changed(k)
		if stored {
			from.removed = append(from.removed, k)
		}
	})
	from.gone, from.changed, from.added = true, true, nil
	return err
}

// turn makes an id of the cluster its head.
func (t *table) turn(c *cluster, head key) error {
	if c.head == head {
		return nil
	}
	c.head, c.changed = head, true
	value := c.value()
	return t.members(c, func(k key, _ bool) {
		t.set(k, value)
		t.changed(k)
	})
}

// identify makes an id the head of its cluster for good.
func (t *table) identify(c *cluster, k key) error {
	c.identified, c.since, c.changed = true, t.counts.Since, true
	t.counts.Since++
	return t.turn(c, k)
}

// members calls fn with each id of a cluster.
func (t *table) members(c *cluster, fn func(k key, stored bool)) error {
	for _, k := range c.added {
		fn(k, false)
	}
	if !c.stored {
		return nil
	}
	prefix := numberKey(nil, spaceMember, c.number)
	stored, err := t.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: numberKey(nil, spaceMember, c.number+1)})
	if err != nil {
		return fmt.Errorf("read cluster %d: %w", c.number, err)
	}
	for ok := stored.First(); ok; ok = stored.Next() {
		fn(key(stored.Key()[len(prefix):]), true)
	}
	if err := errors.Join(stored.Error(), stored.Close()); err != nil {
		return fmt.Errorf("read cluster %d: %w", c.number, err)
	}
	return nil
}

// write puts the changes into a batch.
func (t *table) write(b *pebble.Batch, epoch uint64, keep int64) error {
	w := writer{b: b}
	for k, e := range t.ids {
		if e.changed {
			w.set(idKey(w.key[:0], k), []byte(e.value))
		}
	}
	for _, c := range t.clusters {
		if c.changed {
			w.cluster(c)
		}
	}
	mark := binary.AppendUvarint(nil, epoch)
	for k := range t.dirty {
		w.set(changeKey(w.key[:0], k), mark)
	}
	if n := t.counts.Failures - keep; n > 0 && len(t.failures) > 0 {
		if err := b.DeleteRange(numberKey(nil, spaceFailure, 0), numberKey(nil, spaceFailure, uint64(n)), nil); err != nil {
			return err
		}
	}
	for i := range t.failures {
		text, err := json.Marshal(&t.failures[i])
		if err != nil {
			return fmt.Errorf("encode failure: %w", err)
		}
		w.set(numberKey(w.key[:0], spaceFailure, uint64(t.failures[i].Number)), text)
	}
	return w.err
}

// writer fills a batch.
type writer struct {
	b          *pebble.Batch
	key, value []byte
	err        error
}

func (w *writer) set(k, value []byte) {
	w.key = k
	if w.err == nil {
		w.err = w.b.Set(k, value, nil)
	}
}

func (w *writer) delete(k []byte) {
	w.key = k
	if w.err == nil {
		w.err = w.b.Delete(k, nil)
	}
}

func (w *writer) cluster(c *cluster) {
	for _, k := range c.removed {
		w.delete(memberKey(w.key[:0], c.number, k))
	}
	if c.gone {
		w.delete(numberKey(w.key[:0], spaceCluster, c.number))
		return
	}
	w.value = c.encode(w.value[:0])
	w.set(numberKey(w.key[:0], spaceCluster, c.number), w.value)
	for _, k := range c.added {
		w.set(memberKey(w.key[:0], c.number, k), nil)
	}
}
