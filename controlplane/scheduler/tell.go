package scheduler

// tell decides whom to tell why he waits: pods that were not told yet, or to whom something else holds by
// now. It goes through the lines in turn and stops after so many pods, or nodes that were looked at.
func (c *core) tell(pods, nodes int) {
	p := &c.pending
	for range len(p.order) {
		if pods <= 0 || nodes <= 0 {
			return
		}
		l := p.order[p.told%len(p.order)]
		head := l.heap[0]
		if c.reasons.recent(l.shape, len(c.fleet.list)) == nil {
			nodes -= max(len(c.fleet.list), 1)
		}
		why := c.whyOf(l.shape, &head.req, head.plan)
		for _, w := range l.heap {
			if w.told != nil && w.told.Message == why.Message {
				continue
			}
			if pods--; pods < 0 {
				return // this line goes on next time
			}
			w.told = why
			c.decisions = append(c.decisions, decision{kind: explained, uid: w.req.UID, request: &w.req, message: why.Message})
		}
		p.told++
	}
}
