package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// A repair restores objects of one committed run. It holds the fence like every
// attempt, and each object is replaced on condition of the state that was found
// damaged, so that neither a crash nor a zombie makes a whole object worse:
//
//	Open      manifest, with the fence ─► end uploads and replacements of earlier attempts
//	Write     whole object: only measured
//	          else: Fence of the object ─► Replace, on condition ─► Seal
//	Commit    manifest still names the attempt ─► Switch each ─► delete ─► receipt, manifest

// repair is the part of an attempt that restores a committed run.
type repair struct {
	want *sdk.Repair
	// receipt is the record of the run; nil: it is missing or damaged.
	receipt *RunReceipt
	// recorded are the files of the receipt by name.
	recorded map[string]File
	// remove are the objects of want.Remove that may be removed.
	remove []string
	// lost: the manifest did not have the set, and the commit writes it.
	lost bool

	mu     sync.Mutex
	sealed []sealed
}

// sealed is the next state of a damaged object. Readers do not see it before
// Commit.
type sealed struct {
	file File
	next Replacement
}

func (r *repair) add(s sealed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = append(r.sealed, s)
}

// abort drops the sealed states that were not switched.
func (r *repair) abort(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for _, s := range r.sealed {
		err = errors.Join(err, s.next.Abort(ctx))
	}
	r.sealed = nil
	return err
}

// openRepair claims the target for a repair of a committed run.
func (l *Lake) openRepair(ctx context.Context, run sdk.Run, lay layout, target *Target) (sdk.LastRun, error) {
	a := &attempt{
		run: run, by: NewAttempt(run.Number, run.Fence), lay: lay, target: target,
		parts: make(map[string]int), tasks: newTasks(l.finishers), repair: &repair{want: run.Repair},
	}
	if err := l.claimRepair(ctx, a); err != nil {
		return sdk.LastRun{}, err
	}
	if err := l.knowRun(ctx, a); err != nil {
		return sdk.LastRun{}, err
	}
	if err := l.endEarlier(ctx, a); err != nil {
		return sdk.LastRun{}, err
	}
	l.begin(ctx, a)
	if a.repair.lost {
		return sdk.LastRun{Number: run.Number, Content: run.Content}, nil
	}
	return a.manifest.last(), nil
}

// claimRepair enters the repair and its fence in the manifest, which it restores
// if that was asked for.
func (l *Lake) claimRepair(ctx context.Context, a *attempt) (err error) {
	if a.run.Repair.Record {
		return l.restoreManifest(ctx, a)
	}
	a.manifest, a.version, err = l.update(ctx, a.lay, a.run, func(m *Manifest) error {
		if err := repairable(m, a.run); err != nil {
			return err
		}
		if err := l.sameFormat(m); err != nil {
			return err
		}
		m.Fence, m.Attempt = a.run.Fence, a.by.String()
		return nil
	})
	return err
}

// repairable refuses a run that is not committed, and of a replaced set one that
// is not the last.
func repairable(m *Manifest, run sdk.Run) error {
	switch {
	case m.AdoptedBy != "":
		return adopted(m, run)
	case m.Run == 0:
		return sdk.Permanent(errors.New("the manifest does not exist, or says that nothing is committed"))
	case !m.committed(run.Number):
		return sdk.Permanent(fmt.Errorf("run %d is not committed, the last one is %d", run.Number, m.Run))
	case run.Mode == sdk.Replace && run.Number != m.Run:
		return sdk.Permanent(fmt.Errorf("run %d was replaced by run %d", run.Number, m.Run))
	}
	return nil
}

// knowRun reads the record of the run and compares its content.
func (l *Lake) knowRun(ctx context.Context, a *attempt) error {
	r := a.repair
	if r.lost {
		return l.knowSet(ctx, a)
	}
	var err error
	if a.run.Mode == sdk.Replace {
		r.receipt = a.manifest.Receipt
		if a.manifest.setProblem() != "" && (r.receipt == nil || r.receipt.Run != a.run.Number) {
			return sdk.Permanent(errors.New("the manifest has no receipt of the last set, so that its object cannot be written as it was; the next run replaces it"))
		}
	} else {
		var problem string
		if r.receipt, problem, err = l.storedReceipt(ctx, a.lay, a.manifest, a.run.Number); err != nil {
			return err
		}
		if problem != "" && r.receipt != a.manifest.Receipt {
			r.receipt = nil
		}
	}
	// The manifest has the content of the last run, also if its receipt is damaged.
	for _, known := range []*RunReceipt{r.receipt, a.manifest.Receipt} {
		if known == nil || known.Run != a.run.Number || known.Content == "" || a.run.Content == "" {
			continue
		}
		if known.Content != a.run.Content {
			return sdk.Permanent(fmt.Errorf("run %d was committed with content %s, and not %s", a.run.Number, known.Content, a.run.Content))
		}
	}
	r.recorded = make(map[string]File)
	if r.receipt == nil {
		return nil
	}
	for _, p := range r.receipt.Partitions {
		for _, f := range p.Files {
			r.recorded[f.Name] = f
		}
	}
	return nil
}

// endEarlier ends what earlier attempts have not shown, at runs and at repairs.
func (l *Lake) endEarlier(ctx context.Context, a *attempt) error {
	if err := l.endUploads(ctx, a.lay); err != nil {
		return err
	}
	if a.run.Mode == sdk.Replace {
		if _, err := l.store.Fence(ctx, a.lay.fixed(), a.by); err != nil {
			return fmt.Errorf("fence %s: %w", a.lay.fixed(), err)
		}
		cut, err := l.switched(ctx, a.lay, a.manifest.Prepared)
		if err != nil {
			return err
		}
		if cut {
			return sdk.Permanent(fmt.Errorf("the commit of run %d was cut: run the pipeline first, which completes it", a.manifest.Prepared.Run))
		}
	}
	return l.emptyAside(ctx, a.lay)
}

// emptyAside deletes the objects that earlier repairs have put aside for parts.
func (l *Lake) emptyAside(ctx context.Context, lay layout) error {
	var left []string
	prefix := lay.manifests() + asideDir + "/"
	err := l.store.List(ctx, prefix, true, func(o Object) error {
		// AsideDir has the object's path as directories.
		name := lay.dir + strings.TrimPrefix(o.Name, prefix)
		if dir := strings.LastIndexByte(name, '/'); dir > 0 {
			if _, _, ok := lay.owned(name[:dir]); ok {
				left = append(left, o.Name)
			}
		}
		return nil
	})
	if err == nil && len(left) > 0 {
		err = l.store.Delete(ctx, left)
	}
	if err != nil {
		return fmt.Errorf("end earlier repairs: %w", err)
	}
	return nil
}

// numberParts continues with the numbers that the record has of a partition's
// objects: in a repair, earlier partitions of its date may be left out. Without
// the record it refuses to guess the numbers: they may be those of an object of a
// partition that was left out.
func (a *attempt) numberParts(p sdk.Partition) error {
	if a.repair == nil {
		return nil
	}
	if a.repair.receipt == nil {
		if p.Index != len(a.receipts) {
			return sdk.Permanent(fmt.Errorf("the record of run %d is missing or damaged: all of its partitions must be sent, and one before partition %d was not",
				a.run.Number, p.Index))
		}
		return nil
	}
	for _, r := range a.repair.receipt.Partitions {
		if r.Index == p.Index && len(r.Files) > 0 {
			if part, ok := a.lay.partOf(r.Files[0].Name); ok {
				a.parts[p.Date] = part - 1
			}
		}
	}
	return nil
}

// restoreSet measures the one partition of a set, and restores its damaged
// objects.
func (l *Lake) restoreSet(a *attempt, p sdk.Partition, r *batch.Reader) ([]File, error) {
	if p.Index != 0 || p.Date != "" {
		return nil, sdk.Permanent(errors.New("a set that is replaced comes as one partition without a date"))
	}
	one, err := l.isOneObject(a)
	if err != nil {
		return nil, err
	}
	if !one {
		return l.writeParts(a, "", r)
	}
	o, err := l.restore(a, a.lay.fixed(), a.inner())
	if err != nil {
		return nil, err
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = o.add(b, r)
		}
		if err != nil {
			o.abandon(a)
			return nil, err
		}
	}
	if err := o.finish(a); err != nil {
		o.abandon(a)
		return nil, err
	}
	a.changes(o.changed)
	return []File{o.file}, nil
}

// restore returns an object that is only measured if the stored one is as the
// record says, or whose bytes become the object's next state.
func (l *Lake) restore(a *attempt, name, inner string) (*object, error) {
	found, err := l.inspect(a.ctx, name, a.run.Stream, a.repair.want.Deep)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	u := &restoring{attempt: a, found: found}
	recorded, known := a.repair.recorded[name]
	if found == nil || !known || !found.whole(recorded) {
		version, err := l.store.Fence(a.ctx, name, a.by)
		if err != nil {
			return nil, fmt.Errorf("fence %s: %w", name, err)
		}
		if u.next, err = l.store.Replace(a.ctx, name, version, a.by); err != nil {
			return nil, fmt.Errorf("replace %s: %w", name, err)
		}
	}
	if u.object, err = l.newObject(name, a.run.Stream, inner, u); err != nil {
		return nil, errors.Join(err, u.Abort(context.WithoutCancel(a.ctx)))
	}
	u.object.upload = u
	return u.object, nil
}

// restoring is the Upload of one object in a repair.
type restoring struct {
	attempt *attempt
	object  *object
	found   *state      // the stored object; nil: it is missing
	next    Replacement // nil: the stored object is as the record says
}

// Write implements Upload.
func (u *restoring) Write(p []byte) (int, error) {
	if u.next == nil {
		return len(p), nil
	}
	return u.next.Write(p)
}

// Finish implements Upload: Commit shows the object.
func (u *restoring) Finish(ctx context.Context) error {
	file := u.object.file
	if u.found != nil && u.found.whole(file) {
		return u.Abort(ctx) // at most the record is damaged
	}
	if u.next == nil {
		return sdk.Permanent(fmt.Errorf("the run makes %d bytes with CRC-32C %08x, but the record and the stored object agree on %d other bytes: neither is changed",
			file.StoredBytes, file.StoredCRC32C, u.found.facts.StoredBytes))
	}
	if err := u.next.Seal(ctx); err != nil {
		return err
	}
	u.attempt.repair.add(sealed{file, u.next})
	return nil
}

// Abort implements Upload.
func (u *restoring) Abort(ctx context.Context) error {
	if u.next == nil {
		return nil
	}
	return u.next.Abort(ctx)
}

// prepareRepair decides which of the unnamed objects may be removed.
func (l *Lake) prepareRepair(ctx context.Context, a *attempt) error {
	m := a.manifest
	kept := namedBy(a.repair.receipt, a.runReceipt(), m.Receipt, m.Prepared)
	for _, f := range m.Files {
		kept[f.Name] = true
	}
	receipts := map[int64]*RunReceipt{a.run.Number: a.repair.receipt}
	for _, name := range a.repair.want.Remove {
		_, run, own := a.lay.owned(name)
		if !own && (name != a.lay.fixed() || a.run.Stream == sdk.Events) {
			return sdk.Permanent(fmt.Errorf("%s is not removed: it is not one of the pipeline's own names", name))
		}
		if _, ok := receipts[run]; !ok && a.run.Stream == sdk.Events && m.committed(run) {
			r, _, err := l.storedReceipt(ctx, a.lay, m, run)
			if err != nil {
				return err
			}
			receipts[run] = r
			maps.Copy(kept, namedBy(r))
		}
		if !kept[name] && a.removable(name, run, receipts[run] != nil) {
			a.repair.remove = append(a.repair.remove, name)
		}
	}
	return nil
}

// namedBy returns the names of the objects of receipts. A receipt may be nil.
func namedBy(receipts ...*RunReceipt) map[string]bool {
	names := make(map[string]bool)
	for _, r := range receipts {
		if r == nil {
			continue
		}
		for _, p := range r.Partitions {
			for _, f := range p.Files {
				names[f.Name] = true
			}
		}
	}
	return names
}

// removable reports whether an object that no record names may be removed. known
// is whether the receipt of its run was read: without it, the run may have written
// the object. The names of runs that may follow soon are not removable.
func (a *attempt) removable(name string, run int64, known bool) bool {
	m := a.manifest
	switch {
	case name == a.lay.fixed():
		return true
	case !m.committed(run):
		return slices.Contains(m.Void, run) || !slices.Contains(m.Unfinished, run) && run > m.Run+voidSwept
	default:
		return known || a.run.Mode == sdk.Replace
	}
}

// commitRepair shows the restored objects, removes the unnamed ones, and brings
// the record in line.
func (l *Lake) commitRepair(ctx context.Context, a *attempt) error {
	m, version, err := l.readManifest(ctx, a.lay)
	if err != nil {
		return err
	}
	if m == nil || m.Attempt != a.by.String() || m.Fence != a.run.Fence {
		return l.lost(ctx, a.run, errors.New("another attempt has opened since"))
	}
	a.manifest, a.version = m, version
	for _, s := range a.repair.sealed {
		if err := l.show(ctx, a, s); err != nil {
			return err
		}
	}
	if len(a.repair.remove) > 0 {
		if err := l.store.Delete(ctx, a.repair.remove); err != nil {
			return fmt.Errorf("remove unnamed objects: %w", err)
		}
	}
	if err := l.reconcile(ctx, a); err != nil {
		return err
	}
	return l.end(ctx, a)
}

// show switches one restored object. After a conflict it reads the object: a
// switch of this repair whose answer was lost, or of another repair, counts as
// done.
func (l *Lake) show(ctx context.Context, a *attempt, s sealed) error {
	err := s.next.Switch(ctx)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrAborted) {
		return fmt.Errorf("switch %s: %w", s.file.Name, err)
	}
	found, lookErr := l.inspect(ctx, s.file.Name, a.run.Stream, false)
	if lookErr != nil && !errors.Is(lookErr, ErrNotFound) {
		return lookErr
	}
	if found != nil && found.whole(s.file) {
		return nil
	}
	return l.lost(ctx, a.run, fmt.Errorf("switch %s: %w", s.file.Name, err))
}

// reconcile writes the record of the run again if all of its partitions were
// sent, and the totals of the days if the host asks for it.
func (l *Lake) reconcile(ctx context.Context, a *attempt) error {
	next, err := a.manifest.clone()
	if err != nil {
		return err
	}
	if n := a.repair.want.Partitions; n > 0 && len(a.receipts) == n {
		if err := l.reconcileRun(ctx, a, next); err != nil {
			return err
		}
	}
	if a.repair.want.Totals && a.run.Stream == sdk.Events {
		if err := l.reconcileTotals(ctx, a, next); err != nil {
			return err
		}
	}
	now, err := encodeJSON(next)
	if err != nil {
		return err
	}
	before, err := encodeJSON(a.manifest)
	if err != nil || string(now) == string(before) {
		return err
	}
	_, err = l.writeManifest(ctx, a.lay.manifest(), next, a.version)
	return l.conflict(ctx, a, err)
}

// reconcileRun restores the receipt of the run, and its copy in the manifest. If
// one of the two is right the other becomes equal to it.
func (l *Lake) reconcileRun(ctx context.Context, a *attempt, next *Manifest) error {
	r := a.runReceipt()
	if known := a.repair.receipt; known != nil {
		r.Fence, r.Content, r.CompleteAsOf = known.Fence, known.Content, known.CompleteAsOf
	}
	isLast := a.run.Number == next.Run
	inManifest := isLast && next.Receipt != nil && sameReceipt(next.Receipt, r)
	if inManifest {
		r = next.Receipt
	}
	if a.run.Mode == sdk.Replace {
		if a.repair.lost {
			next.Run, next.CompleteAsOf, next.Layout = r.Run, r.CompleteAsOf, layoutOf(a.lay, r)
		}
		next.Receipt = r
		next.replaceFiles(r)
		return nil
	}
	name := a.lay.receipt(a.run.Number)
	data, _, err := l.store.Read(ctx, name, manifestLimit)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read the receipt of run %d: %w", a.run.Number, err)
	}
	stored, problem := decodeReceipt(a.lay, a.run.Number, data)
	isStored := err == nil && problem == "" && sameReceipt(stored, r)
	if isStored && !inManifest {
		r = stored
	}
	if isLast {
		next.Receipt = r
	}
	if isStored {
		return nil
	}
	if data, err = encodeJSON(r); err != nil {
		return err
	}
	return put(ctx, l.store, name, data, a.by)
}

// reconcileTotals computes the totals of the days from all receipts.
func (l *Lake) reconcileTotals(ctx context.Context, a *attempt, next *Manifest) error {
	sum := &Manifest{Stream: next.Stream}
	runs, err := l.committedRuns(ctx, a.lay, next)
	if err != nil {
		return err
	}
	for _, run := range runs {
		r, problem, err := l.storedReceipt(ctx, a.lay, next, run)
		if err != nil {
			return err
		}
		if problem != "" {
			return sdk.Permanent(fmt.Errorf("the totals are not computed: %s: %s", a.lay.receipt(run), problem))
		}
		sum.commit(run, r.CompleteAsOf, r)
	}
	for date, d := range sum.Days {
		// Only a commit knows until when a day is complete.
		if known, ok := next.Days[date]; ok {
			d.CompleteAsOf = known.CompleteAsOf
		}
		sum.Days[date] = d
	}
	if !maps.Equal(next.Days, sum.Days) {
		next.Days = sum.Days
	}
	return nil
}
