package nodelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Nodelet runs the pods that are assigned to this host. It goes on with those it knows when nobody tells
// it anything, also after a restart.
type Nodelet struct {
	cfg     Config
	records *records
	bootID  string

	changed chan struct{}
	cancel  context.CancelFunc // of the goroutines that Start began
	tasks   sync.WaitGroup
	hands   hands

	mu      sync.Mutex // guards what follows
	state   runState
	workers map[string]*worker
	reports map[string]*report // by UID, finished pods included
	dirty   []string           // UIDs with something to tell, oldest first
	orphans map[string]*orphan // what is on the host without a record
	samples map[string]sample  // latest reading of usage, by UID
	history *history           // guards itself; nil: none is kept
	ended   []string           // UIDs of finished pods, oldest first
	slots   slots
}

type runState uint8

const (
	stateNew runState = iota
	stateRunning
	stateClosed
)

// report is the latest of a pod and the events that nobody has taken.
type report struct {
	Report
	dirty bool // in Nodelet.dirty
}

// maxFinished bounds the reports of finished pods that the control plane has not answered with Remove or
// Sync. The oldest go first; a Sync that still names such a pod makes it finish again.
const maxFinished = 4096

// relistPeriod is how often the runtime is asked what runs, in case an exit was missed.
const relistPeriod = 30 * time.Second

// New makes a nodelet. It does nothing until Start.
func New(cfg Config) (*Nodelet, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("boot id: %w", err)
	}
	n := &Nodelet{
		cfg: cfg, records: newRecords(cfg.DataDir), bootID: strings.TrimSpace(string(boot)),
		changed: make(chan struct{}, 1),
		workers: make(map[string]*worker), reports: make(map[string]*report), orphans: make(map[string]*orphan),
		samples: make(map[string]sample), slots: slots{reports: make(map[string]SlotReport), dirty: make(map[string]bool)},
	}
	if !cfg.NoHistory {
		n.history = newHistory(cfg.MemoryWindow)
	}
	return n, nil
}

// Start adopts what runs on the host: pods with a record go on as they were; the rest waits for the
// first Sync. ctx bounds the start only; Close ends what Start began.
func (n *Nodelet) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != stateNew {
		return errors.New("nodelet: started twice")
	}
	known, err := n.records.load(n.cfg.Logger)
	if err != nil {
		return err
	}
	at := time.Now()
	states, err := n.cfg.Runtime.List(ctx)
	if err != nil {
		return fmt.Errorf("containers of this node: %w", err)
	}
	byPod := groupByPod(states)
	if err := n.findOrphansLocked(ctx, known, byPod); err != nil {
		return err
	}
	n.state = stateRunning
	for uid, rec := range known {
		n.spawnLocked(rec.assignment, true, rec.checkpoint, inList{at, byPod[uid]})
	}
	background, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.tasks.Go(func() { n.hear(background) })
	return nil
}

func groupByPod(states []ContainerState) map[string][]ContainerState {
	out := make(map[string][]ContainerState)
	for _, s := range states {
		out[s.PodUID] = append(out[s.PodUID], s)
	}
	return out
}

func (n *Nodelet) spawnLocked(a Assignment, found bool, cp *checkpoint, list inList) {
	uid := string(a.Pod.UID)
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{
		uid: uid, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
		machine: newMachine(&n.cfg, n.bootID, a, found, cp, time.Now()),
		host: &host{cfg: &n.cfg, uid: uid, dir: n.records.podDir(uid), meter: &meter{journal: n.cfg.Journal},
			saver: newSaver(n.records, uid)},
		hands: &n.hands, publish: n.publish, publishSlot: n.publishSlot,
	}
	w.post(list)
	n.workers[uid] = w
	go w.run(ctx)
}

// hear hands ends of containers to their pods, and has what runs looked at from time to time. What ended
// before the listing of Start is in both; the machine takes an end once.
func (n *Nodelet) hear(ctx context.Context) {
	ticker := time.NewTicker(relistPeriod)
	defer ticker.Stop()
	listing, listed := false, make(chan struct{}, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-n.cfg.Runtime.Exits():
			if !ok {
				return
			}
			n.mu.Lock()
			w := n.workers[e.PodUID]
			n.mu.Unlock()
			if w != nil {
				w.post(inRuntimeExit{e})
			}
		case <-ticker.C:
			if !listing {
				listing = true
				n.tasks.Go(func() {
					n.relist(ctx)
					listed <- struct{}{}
				})
			}
		case <-listed:
			listing = false
		}
	}
}

// relist tells pods of which the runtime's list says something new.
func (n *Nodelet) relist(ctx context.Context) {
	at := time.Now()
	states, err := n.cfg.Runtime.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			n.cfg.Logger.Warn("containers can't be listed; asking again", "wait", relistPeriod, "error", err)
		}
		return
	}
	byPod := groupByPod(states)
	n.mu.Lock()
	workers := make([]*worker, 0, len(n.workers))
	for _, w := range n.workers {
		workers = append(workers, w)
	}
	n.mu.Unlock()
	for _, w := range workers {
		if list := byPod[w.uid]; !w.runsAs(list) {
			w.post(inList{at, list})
		}
	}
}

// Assign makes the node run a pod, or brings one up to date. The assignment belongs to the nodelet from
// then on.
func (n *Nodelet) Assign(a Assignment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.assignLocked(a)
}

func (n *Nodelet) assignLocked(a Assignment) {
	uid := string(a.Pod.UID)
	if n.state != stateRunning {
		return
	}
	if w := n.workers[uid]; w != nil {
		w.post(inAssign{a})
		return
	}
	if r := n.reports[uid]; r != nil && r.Finished {
		n.markLocked(r) // it was told, and the telling was lost
		return
	}
	list := inList{At: time.Now()}
	o, found := n.orphans[uid]
	if found {
		if o.reaping {
			return // told to go a moment ago; its end will be reported
		}
		list.Containers = o.containers
		delete(n.orphans, uid)
	}
	n.spawnLocked(a, found, nil, list)
}

// Boost takes the ledger's answer to what a pod has asked for while it starts.
func (n *Nodelet) Boost(uid string, g BoostGrant) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.workers[uid]; w != nil && n.state == stateRunning {
		w.post(inBoost{g})
	}
}

// Remove ends a pod that is no longer desired at all, and removes everything of it.
func (n *Nodelet) Remove(uid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeLocked(uid)
}

func (n *Nodelet) removeLocked(uid string) {
	if n.state != stateRunning {
		return
	}
	switch w, r := n.workers[uid], n.reports[uid]; {
	case w != nil:
		w.post(inRemove{})
	case n.orphans[uid] != nil:
		n.reapLocked(uid)
	case r != nil && r.Finished && !r.dirty:
		delete(n.reports, uid)
	}
}

// Sync makes all the whole desired state: pods that are here and not in it are removed.
func (n *Nodelet) Sync(all []Assignment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	desired := make(map[string]bool, len(all))
	for _, a := range all {
		desired[string(a.Pod.UID)] = true
		n.assignLocked(a)
	}
	gone := make(map[string]bool)
	for uid := range n.workers {
		gone[uid] = true
	}
	for uid := range n.orphans {
		gone[uid] = true
	}
	for uid := range n.reports {
		gone[uid] = true
	}
	for uid := range gone {
		if !desired[uid] {
			n.removeLocked(uid)
		}
	}
}

// publish is called by a worker that has something new to tell.
func (n *Nodelet) publish(latest Report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slots.drop(latest.UID) // it was taken
	r := n.reports[latest.UID]
	if r == nil {
		r = &report{}
		n.reports[latest.UID] = r
	}
	if len(r.Events) > 0 {
		latest.Events = append(r.Events, latest.Events...)
		latest.Events = latest.Events[max(0, len(latest.Events)-maxEvents):]
	}
	r.Report = latest
	if n.history != nil {
		n.history.reported(&latest)
	}
	n.markLocked(r)
	if latest.Finished {
		n.finishedLocked(latest.UID)
	}
}

func (n *Nodelet) finishedLocked(uid string) {
	delete(n.workers, uid)
	delete(n.samples, uid)
	n.ended = append(n.ended, uid)
	if len(n.ended) > maxFinished {
		delete(n.reports, n.ended[0])
		n.ended = n.ended[1:]
	}
}

// Close ends the nodelet's goroutines and leaves the containers running. It may be called again.
func (n *Nodelet) Close() error {
	n.mu.Lock()
	started := n.state == stateRunning
	n.state = stateClosed
	var workers []*worker
	for _, w := range n.workers {
		w.stop()
		workers = append(workers, w)
	}
	for _, o := range n.orphans {
		if o.reaping {
			o.cancel()
		}
	}
	n.mu.Unlock()
	if started {
		n.cancel()
	}
	for _, w := range workers {
		<-w.done
	}
	n.tasks.Wait()
	n.hands.close()
	return n.records.close()
}
