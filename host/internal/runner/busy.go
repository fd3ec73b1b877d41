package runner

// Busy reports whether a step of a pipeline is under way, which may send rows.
func (r *Runner) Busy() bool {
	for _, p := range r.All() {
		leave, free := p.steps.TryEnter()
		if !free {
			return true
		}
		leave()
	}
	return false
}
