package nodelet

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/internal/framelog"
)

// recorded opens the records below a folder and answers what they hold, as text.
func recorded(t *testing.T, dir string) (*records, map[string]string) {
	t.Helper()
	r := newRecords(dir)
	known, err := r.load(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.close() })
	out := map[string]string{}
	for uid, rec := range known {
		text := rec.assignment.Pod.Name
		if cm := rec.assignment.ConfigMaps["config"]; cm != nil {
			text += " " + cm.Data["key"]
		}
		if rec.checkpoint != nil {
			text += " " + rec.checkpoint.PodIP
		}
		out[uid] = text
	}
	return r, out
}

func save(t *testing.T, r *records, uid, name, ip string) {
	t.Helper()
	s := newSaver(r, uid)
	if name != "" {
		s.put(recordAssignment, Assignment{
			Pod:        &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)}},
			ConfigMaps: map[string]*corev1.ConfigMap{"config": {Data: map[string]string{"key": "value of " + name}}},
		})
	}
	if ip != "" {
		raw, err := (&checkpoint{PodIP: ip}).marshal()
		if err != nil {
			t.Fatal(err)
		}
		s.put(recordCheckpoint, raw)
	}
	if !s.pending() {
		t.Fatal("nothing is pending")
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if s.pending() {
		t.Fatal("something is pending after the flush")
	}
}

func wantRecorded(t *testing.T, what string, got map[string]string, want ...string) {
	t.Helper()
	var lines []string
	for _, uid := range slices.Sorted(maps.Keys(got)) {
		lines = append(lines, uid+": "+got[uid])
	}
	if !slices.Equal(lines, want) {
		t.Errorf("%s: %q, want %q", what, lines, want)
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	r, got := recorded(t, dir)
	wantRecorded(t, "nothing yet", got)
	save(t, r, "a", "first", "")
	save(t, r, "b", "second", "10.0.0.2")
	save(t, r, "a", "", "10.0.0.1")
	save(t, r, "b", "renamed", "")
	save(t, r, "c", "third", "10.0.0.3")
	for _, uid := range []string{"a", "c", "stray"} {
		if _, err := makeFolder(r.podDir(uid), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := newSaver(r, "c").remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.podDir("c")); !os.IsNotExist(err) {
		t.Errorf("the folder of a removed pod: %v", err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if err := r.put(entry{recordRemoval, "a", nil}); err == nil {
		t.Error("what is closed takes a record")
	}
	want := []string{"a: first value of first 10.0.0.1", "b: renamed value of renamed 10.0.0.2"}
	r, got = recorded(t, dir)
	wantRecorded(t, "read again", got, want...)
	if _, err := os.Stat(r.podDir("stray")); !os.IsNotExist(err) {
		t.Errorf("a folder without a record: %v", err)
	}
	if _, err := os.Stat(r.podDir("a")); err != nil {
		t.Errorf("the folder of a pod: %v", err)
	}
}

// TestRecordsAreGone checks that nothing is written for a pod that was removed.
func TestRecordsAreGone(t *testing.T) {
	dir := t.TempDir()
	r, _ := recorded(t, dir)
	s := newSaver(r, "a")
	s.put(recordAssignment, Assignment{Pod: &corev1.Pod{}})
	if err := s.remove(); err != nil {
		t.Fatal(err)
	}
	if s.pending() {
		t.Error("something is pending")
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	_, got := recorded(t, dir)
	wantRecorded(t, "read again", got)
}

// TestRecordsAfterACut ends the log anywhere, as a crash may.
func TestRecordsAfterACut(t *testing.T) {
	dir := t.TempDir()
	r, _ := recorded(t, dir)
	states := map[int64]map[string]string{}
	note := func() {
		raw, err := os.ReadFile(r.file.Path())
		if err != nil {
			t.Fatal(err)
		}
		copied := t.TempDir()
		if err := os.WriteFile(filepath.Join(copied, "pods.log"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, states[int64(len(raw))] = recorded(t, copied)
	}
	save(t, r, "a", "first", "")
	note()
	save(t, r, "a", "", "10.0.0.1")
	note()
	save(t, r, "b", "second", "10.0.0.2")
	note()
	if err := newSaver(r, "a").remove(); err != nil {
		t.Fatal(err)
	}
	note()
	raw, err := os.ReadFile(r.file.Path())
	if err != nil {
		t.Fatal(err)
	}
	cutDir := t.TempDir()
	want := map[string]string{}
	for cut := range len(raw) + 1 {
		if s, ok := states[int64(cut)]; ok {
			want = s
		}
		_, whole := states[int64(cut)]
		_, almost := states[int64(cut)+1]
		if cut%5 != 0 && !whole && !almost {
			continue
		}
		for _, tail := range [][]byte{nil, make([]byte, 100)} { // a file system may leave zeros
			if almost && tail != nil && raw[cut] == 0 {
				continue // which is what was cut off
			}
			if err := os.WriteFile(filepath.Join(cutDir, "pods.log"), append(bytes.Clone(raw[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			r, got := recorded(t, cutDir)
			if !maps.Equal(got, want) {
				t.Fatalf("cut at %d: %v, want %v", cut, got, want)
			}
			save(t, r, "new", "new", "")
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
			if r, got = recorded(t, cutDir); len(got) != len(want)+1 {
				t.Fatalf("cut at %d, and written on: %v", cut, got)
			}
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(states) != 4 {
		t.Fatalf("%d states", len(states))
	}
}

// TestDamagedRecords checks that a pod is left out rather than brought back from before the damage, that the
// folders stay, and that the damaged file is kept.
func TestDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	r, _ := recorded(t, dir)
	save(t, r, "before", "first", "")
	at := r.file.Size()
	if err := newSaver(r, "before").remove(); err != nil {
		t.Fatal(err)
	}
	save(t, r, "after", "second", "10.0.0.2")
	if _, err := makeFolder(r.podDir("unknown"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(r.dir + ".log")
	if err != nil {
		t.Fatal(err)
	}
	raw[at+framelog.HeaderSize] ^= 1
	if err := os.WriteFile(r.dir+".log", raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is whole after the first time
		r, got := recorded(t, dir)
		wantRecorded(t, "after damage", got, "after: second value of second 10.0.0.2")
		if kept, err := os.ReadFile(r.dir + ".log.damaged"); err != nil || !bytes.Equal(kept, raw) {
			t.Errorf("the damaged file isn't kept: %v", err)
		}
		if _, err := os.Stat(r.podDir("unknown")); err != nil {
			break // the second start knows that there is no such pod
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordsAreCompacted writes more than the log may hold of pods that come and go.
func TestRecordsAreCompacted(t *testing.T) {
	dir := t.TempDir()
	r, _ := recorded(t, dir)
	r.compactAt = 64 << 10
	save(t, r, "stays", "first", "10.0.0.1")
	long := strings.Repeat("x", 20000)
	for i := range 300 {
		uid := fmt.Sprintf("pod-%d", i)
		save(t, r, uid, long, "10.0.0.2")
		if i%100 != 0 {
			if err := newSaver(r, uid).remove(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := r.file.Size(), int64(5<<20); got > want {
		t.Errorf("the log has %d bytes after 12 MiB were written", got)
	}
	_, before := recorded(t, dir)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	r, got := recorded(t, dir)
	if len(got) != 4 || got["stays"] != "first value of first 10.0.0.1" || !maps.Equal(got, before) {
		t.Errorf("%d pods, want 4", len(got))
	}
	if err := r.rewrite(); err != nil {
		t.Fatal(err)
	}
	save(t, r, "stays", "", "10.0.0.9")
	if err := r.rewrite(); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if _, got = recorded(t, dir); len(got) != 4 || got["stays"] != "first value of first 10.0.0.9" {
		t.Errorf("%d pods after it was written anew, one of them %q", len(got), got["stays"])
	}
}

// TestRecordsShareFrames has many pods write at once.
func TestRecordsShareFrames(t *testing.T) {
	dir := t.TempDir()
	r, _ := recorded(t, dir)
	gate := &gatedFile{open: make(chan struct{})}
	r.file.Wrap(func(h framelog.Handle) framelog.Handle { gate.Handle = h; return gate })
	const n = 50
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { save(t, r, fmt.Sprintf("pod-%d", i), "p", "10.0.0.1") })
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		r.mu.Lock()
		waiting := len(r.queue)
		r.mu.Unlock()
		if waiting == n-1 { // all but the one that writes
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait", waiting)
		}
	}
	close(gate.open)
	wg.Wait()
	if gate.syncs != 2 {
		t.Errorf("%d syncs for %d pods, want 2", gate.syncs, n)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if _, got := recorded(t, dir); len(got) != n {
		t.Errorf("%d pods, want %d", len(got), n)
	}
}

// gatedFile holds syncs back until it is opened.
type gatedFile struct {
	framelog.Handle
	open  chan struct{}
	syncs int
}

func (g *gatedFile) Sync() error {
	<-g.open
	g.syncs++
	return g.Handle.Sync()
}
