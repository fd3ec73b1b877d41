package runner

// Busy reports whether a step of a pipeline is under way, which may send rows. The pipeline
// may be one that a reload has removed.
func (r *Runner) Busy() bool {
	for _, s := range r.set.Load().shared {
		leave, free := s.steps.TryEnter()
		if !free {
			return true
		}
		leave()
	}
	return false
}
