package nodelet

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"swell.dev/swell/internal/framelog"
)

// record is a pod as a former process left it.
type record struct {
	assignment Assignment
	checkpoint *checkpoint
}

// load opens the log and reads every record. Folders without one are removed. A pod whose record doesn't
// parse is left out: its containers then wait, running, for the control plane to assign it again.
func (r *records) load(log *slog.Logger) (map[string]record, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	file, data, err := framelog.Open("record of pods", r.dir+".log")
	if err != nil {
		return nil, err
	}
	r.file, r.places = file, map[string]*places{}
	damaged, err := r.read(data, log)
	if err != nil {
		return nil, err
	}
	out := make(map[string]record, len(r.places))
	for uid, p := range r.places {
		rec, err := recordAt(data, p)
		if err != nil {
			log.Error("record of a pod not read; it waits to be assigned again", "pod", uid, "error", err)
			delete(r.places, uid)
			damaged = true
			continue
		}
		out[uid] = rec
	}
	if !damaged {
		return out, r.sweep()
	}
	// Whose the other folders are isn't known, so they stay.
	if err := os.WriteFile(file.Path()+".damaged", data, 0o600); err != nil {
		return nil, fmt.Errorf("record of pods: %w", err)
	}
	return out, r.rewrite()
}

// read finds what the log holds. Where it is damaged, what stands before isn't trusted either, for it may have
// been said to be over. The caller keeps the file beside the log for whoever wants to see it.
func (r *records) read(data []byte, log *slog.Logger) (damaged bool, err error) {
	visit := func(body []byte, at int64) error {
		return eachEntry(body, func(e entry, offset int) { r.place(e, at+int64(offset)) })
	}
	whole, err := r.file.Read(data, recordsFormat, visit)
	if err == nil {
		return false, r.file.Keep(whole, recordsFormat)
	}
	var corrupt *framelog.CorruptError
	for errors.As(err, &corrupt) {
		log.Error("record of pods damaged; pods of before wait to be assigned again", "error", err)
		clear(r.places)
		r.live = 0
		if corrupt.Next == 0 {
			break
		}
		_, err = r.file.ReadFrom(data, corrupt.Next, visit)
	}
	return true, nil
}

func recordAt(data []byte, p *places) (rec record, err error) {
	of := func(kind recordKind) []byte { return data[p[kind].at : p[kind].at+int64(p[kind].size)] }
	if rec.assignment, err = decodeAssignment(of(recordAssignment)); err != nil {
		return rec, err
	}
	if raw := of(recordCheckpoint); len(raw) > 0 {
		cp := new(checkpoint)
		if cp.unmarshal(raw) == nil { // without one the runtime's word counts alone
			rec.checkpoint = cp
		}
	}
	return rec, nil
}

// sweep removes folders of pods that there is no record of.
func (r *records) sweep() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	for _, e := range entries {
		if r.places[e.Name()] != nil {
			continue
		}
		if err := os.RemoveAll(r.podDir(e.Name())); err != nil {
			return fmt.Errorf("record %s: %w", e.Name(), err)
		}
	}
	return nil
}
