//go:build !race

package simulation_test

import (
	"errors"
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/runner"
	"github.com/penstock-io/penstock/sdk/batch"
)

// act does one thing to the host, or lets one happen.
func (w *world) act() {
	switch n := w.rng.IntN(100); {
	case n < 48:
		w.send()
		w.hand(w.rng.IntN(2) == 0)
	case n < 58:
		w.tidy()
	case n < 64:
		w.register()
	case n < 66:
		w.registerSet([]batch.Stream{batch.People, batch.Identity}[w.rng.IntN(2)])
	case n < 72:
		w.pause()
	case n < 75:
		w.finish()
	case n < 80:
		w.redefine()
	case n < 84:
		w.runNow()
	case n < 88:
		w.arm()
	case n < 92:
		w.restart()
	case n < 94:
		w.setClock()
	default:
		w.retry()
	}
}

// become gives a pipeline another state.
func (w *world) become(l *line, state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.state = state
}

// pick returns a pipeline in one of some states; nil: there is none.
func (w *world) pick(states ...string) *line {
	var found []*line
	for _, l := range w.lines {
		if slices.Contains(states, l.state) {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.rng.IntN(len(found))]
}

// restart ends the host, or kills it, and starts the next one after a while.
func (w *world) restart() {
	if w.rng.IntN(2) == 0 {
		w.life.kill()
	}
	w.life.stop()
	switch w.rng.IntN(4) {
	case 0:
		time.Sleep(time.Duration(1+w.rng.IntN(72)) * time.Hour)
	case 1:
		time.Sleep(time.Duration(1+w.rng.IntN(90)) * time.Minute)
	}
	w.begin()
}

// arm has the host killed at a point of the next run of a pipeline.
func (w *world) arm() {
	l := w.pick("live")
	if l == nil {
		return
	}
	points := []string{"open", "send", "prepare", "commit", "committed"}
	w.life.mu.Lock()
	w.life.killAt = l.cfg.Name + "/" + points[w.rng.IntN(len(points))]
	w.life.mu.Unlock()
}

// setClock sets the clock, forward by less than a day or back by less than an hour.
func (w *world) setClock() {
	jump := time.Duration(w.rng.IntN(20*60)) * time.Minute
	if w.rng.IntN(3) == 0 {
		jump = -jump / 20
	}
	w.offset.Add(int64(jump))
	w.mu.Lock()
	for _, l := range w.lines {
		l.finished, l.floor = time.Time{}, 0
	}
	w.mu.Unlock()
	w.life.began = w.now()
	w.life.schedule.Wake("")
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	if w.now().After(w.life.began) {
		w.life.began = w.now()
	}
}

// tidy makes a pass of upkeep, which a kill may end.
func (w *world) tidy() {
	before := w.held()
	if w.rng.IntN(4) == 0 && !w.hides() {
		w.life.system.left.Store(int64(2 + w.rng.IntN(100)))
	}
	restore := w.hide()
	_, err := w.life.upkeep.Pass(w.ctx, 0)
	w.life.system.left.Store(0)
	restore()
	if w.life.alive() != nil {
		w.life.stop()
		w.begin()
	} else if err != nil {
		w.errorf("upkeep: %v", err)
	}
	w.look()
	w.kept(before)
}

// register adds a pipeline: at a place of its own, or at that of one that has ended, which
// it adopts. Now and then it tries one that must be refused.
func (w *world) register() {
	name := fmt.Sprintf("p%d", len(w.byName))
	today := dayOf(w.now(), time.UTC)
	c := &config.Pipeline{
		Name: name, Project: w.shop, Stream: batch.Events, From: today - journal.Day(w.rng.IntN(60)), To: pipeline.Forever, MaxRun: 1 << 30, Order: pipeline.Oldest,
		Schedule: w.schedule(),
	}
	if w.rng.IntN(2) == 0 {
		c.MaxRun = int64(200 + w.rng.IntN(4000))
	}
	if w.rng.IntN(2) == 0 {
		c.Order = pipeline.Newest
	}
	if w.rng.IntN(3) == 0 {
		c.To = today + journal.Day(w.rng.IntN(40))
	}
	if w.rng.IntN(5) == 0 {
		c.RateLimit = int64(5 + w.rng.IntN(50))
	}
	c.LeaveLate = w.rng.IntN(4) == 0
	l := &line{cfg: c, state: "live"}
	switch taken := w.pick("live", "paused"); {
	case taken != nil && taken.place.stream == batch.Events && w.rng.IntN(5) == 0:
		c.Destination, l.place = taken.cfg.Destination, taken.place
		c.Adopt = w.rng.IntN(2) == 0
		if c.From > taken.cfg.To || c.To < taken.cfg.From {
			return
		}
		w.try(l)
		if l.state == "live" {
			w.errorf("%s is registered at the place of %s, for dates that both have", name, taken.cfg.Name)
		}
		w.done.refused.Add(1)
		return
	}
	free := w.free()
	if free == "" {
		return
	}
	l.place, c.Destination = w.places[free], w.blocks[free]
	for _, x := range w.lines {
		if x.place == l.place {
			l.before = x
		}
	}
	c.Adopt = l.before != nil
	w.try(l)
	if l.state == "live" && c.Adopt {
		w.done.adopted.Add(1)
	}
}

// schedule returns a schedule. The seconds of pipelines differ.
func (w *world) schedule() pipeline.Schedule {
	after := time.Duration(len(w.byName)) * time.Second
	s := pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt + after, Zone: w.shop.TimeZone}
	switch w.rng.IntN(4) {
	case 0:
		s.At += 2 * time.Hour // in the hour that most changes of clocks skip or repeat
	case 1:
		s.At += time.Duration(w.rng.IntN(23*60)) * time.Minute
	}
	switch w.rng.IntN(8) {
	case 0:
		s.Cadence, s.At = pipeline.Hourly, pipeline.HourlyAt+after
	case 1, 2:
		s.Cadence, s.At, s.MinInterval = pipeline.Continuous, 0, time.Duration(3+w.rng.IntN(20))*time.Hour
	}
	return s
}

// free returns a place where no pipeline is at work; "" if there is none.
func (w *world) free() string {
	var free []string
	for name, p := range w.places {
		if p.stream == batch.Events && !slices.ContainsFunc(w.lines, func(l *line) bool { return l.place == p && (l.state == "live" || l.state == "paused") }) {
			free = append(free, name)
		}
	}
	if len(free) == 0 {
		return ""
	}
	slices.Sort(free)
	return free[w.rng.IntN(len(free))]
}

// try registers a pipeline. One that is refused is taken out again.
func (w *world) try(l *line) {
	w.mu.Lock()
	w.byName[l.cfg.Name] = l
	w.mu.Unlock()
	w.lines = append(w.lines, l)
	change := w.life.change()
	_, err := w.life.runner.Ensure(w.ctx, l.cfg.Name)
	var wrong *diagnostic.ConfigurationError
	if err != nil {
		if !errors.As(err, &wrong) && w.life.alive() == nil {
			w.errorf("%s cannot be registered: %v", l.cfg.Name, err)
		}
		w.note(l.cfg.Name, "refused")
		w.lines = w.lines[:len(w.lines)-1]
		l.state = "refused"
		w.life.change()
		return
	}
	stored, err := w.life.catalog.Pipeline(w.ctx, l.cfg.Name)
	w.must(err)
	l.id, l.cut, l.gone = stored.ID, stored.Cursor.Cut, map[string]bool{}
	w.look()
	w.miss(l, l.cfg.From)
	w.note(l.cfg.Name, "registered")
	w.life.replace(change)
}

// miss notes the rows of a pipeline's dates from one on that retention has removed.
func (w *world) miss(l *line, from journal.Day) {
	held := w.held()
	for _, id := range w.order {
		if r := w.rows[id]; l.has(r) && r.day >= from && r.ref != (journal.ExtentRef{}) && !held[r.ref] {
			l.gone[id] = true
			w.done.gone.Add(1)
		}
	}
}

// pause pauses a pipeline, in the middle of a run or not, or resumes it.
func (w *world) pause() {
	l, next, state := w.pick("live"), "paused", pipeline.Paused
	if p := w.pick("paused"); p != nil && w.rng.IntN(3) > 0 {
		l, next, state = p, "live", pipeline.Active
	}
	if l == nil {
		return
	}
	if next == "live" {
		w.become(l, next)
	}
	w.must(w.life.catalog.SetPipelineState(w.ctx, l.cfg.Name, state))
	w.life.runner.Hold(l.cfg.Name, state == pipeline.Paused)
	w.become(l, next)
	w.mu.Lock()
	l.began = w.now()
	w.mu.Unlock()
	w.note(l.cfg.Name, "%s", next)
}

// finish ends a pipeline: it is cancelled, or its block is removed, and then it may be
// forgotten.
func (w *world) finish() {
	l := w.pick("live", "paused", "removed")
	if l == nil {
		return
	}
	switch {
	case l.state == "removed":
		leave, err := runner.Exclude(w.ctx, w.life.runner, l.cfg.Name)
		w.must(err)
		defer leave()
		if _, err := w.life.catalog.ForgetPipeline(w.ctx, l.cfg.Name, false, w.now()); err != nil {
			return // one whose last run was begun is not forgotten
		}
		w.become(l, "forgotten")
	case w.rng.IntN(2) == 0:
		w.become(l, "cancelling")
		p, err := w.life.runner.Ensure(w.ctx, l.cfg.Name)
		if err == nil {
			_, err = runner.Cancel(w.ctx, p)
		}
		if w.become(l, "cancelled"); err != nil {
			w.become(l, "paused") // as Cancel leaves it
		}
	default:
		w.become(l, "removing")
		w.life.replace(w.life.change())
		time.Sleep(2 * time.Minute) // its last attempt is cut after one
		synctest.Wait()
		w.become(l, "removed")
	}
	w.note(l.cfg.Name, "%s", l.state)
}

// redefine changes properties of a pipeline that are not fixed at its registration.
func (w *world) redefine() {
	l := w.pick("live", "paused")
	if l == nil {
		return
	}
	c, had := *l.cfg, l.cfg.To
	if w.rng.IntN(2) == 0 {
		c.RateLimit = 0
	}
	if c.To != pipeline.Forever && !c.LeaveLate && w.rng.IntN(2) == 0 {
		if c.To += journal.Day(w.rng.IntN(20)); w.rng.IntN(4) == 0 {
			c.To = pipeline.Forever
		}
	}
	w.mu.Lock()
	l.cfg = &c
	w.mu.Unlock()
	w.forget(l)
	change := w.life.change()
	if _, err := w.life.runner.Ensure(w.ctx, c.Name); err != nil && w.life.alive() == nil {
		w.errorf("%s cannot be changed: %v", c.Name, err)
	}
	w.look()
	w.miss(l, had+1)
	w.life.replace(change)
}

func (w *world) runNow() {
	l := w.pick("live")
	if l == nil || l.cfg.RateLimit > 0 {
		return
	}
	p, err := w.life.runner.Ensure(w.ctx, l.cfg.Name)
	if err == nil {
		_, _ = p.RunNow(w.ctx, false) // the place may fail
	}
	w.life.runner.Wake(l.cfg.Name)
	w.mu.Lock()
	l.began = w.now() // a continuous pipeline counts its interval from here
	w.mu.Unlock()
}

// retry lets a run be tried again that has failed for good, as a person does who has
// removed the reason.
func (w *world) retry() {
	l := w.pick("live")
	if l == nil {
		return
	}
	if open, err := w.life.catalog.OpenRun(w.ctx, l.id); err == nil && open != nil && open.State == pipeline.RunFailed {
		w.must(w.life.catalog.RetryRun(w.ctx, l.id, open.Number))
		w.life.runner.Wake(l.cfg.Name)
	}
}
