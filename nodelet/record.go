package nodelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Records keep a pod over the end of this process:
//
//	<DataDir>/pods/<uid>/assignment.json   the pod with its config maps and secrets
//	                     checkpoint.json   what the machine knows beyond that
//	                     etc-hosts …       files that its containers share
//	                     containers/<name>/termination-<attempt>
//
// A pod exists for this node from the moment that its assignment is there until its folder is gone.
type records struct{ dir string }

const (
	fileAssignment = "assignment.json"
	fileCheckpoint = "checkpoint.json"
)

// errDamaged is a file that doesn't parse. Files are replaced whole, so only something else damages one.
var errDamaged = errors.New("not readable")

func (r records) podDir(uid string) string { return filepath.Join(r.dir, uid) }

// write makes a file durable under its name or leaves the former one.
func (r records) write(uid, file string, raw []byte) error {
	dir := r.podDir(uid)
	made := false
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		made = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("record %s: %w", uid, err)
	}
	f, err := os.CreateTemp(dir, "."+file+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("record %s/%s: %w", uid, file, err)
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, file))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("record %s/%s: %w", uid, file, err), os.Remove(f.Name()))
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if made {
		return syncDir(r.dir)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	return nil
}

// remove forgets the pod. The assignment goes first: a folder without one is rubbish.
func (r records) remove(uid string) error {
	if err := os.Remove(filepath.Join(r.podDir(uid), fileAssignment)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record %s: %w", uid, err)
	}
	if err := os.RemoveAll(r.podDir(uid)); err != nil {
		return fmt.Errorf("record %s: %w", uid, err)
	}
	return nil
}

// record is a pod as a former process left it.
type record struct {
	assignment Assignment
	checkpoint *checkpoint
}

// load reads every record. Folders without an assignment are removed. One that doesn't parse is left
// out: its pod's containers then wait, running, for the control plane to assign them again.
func (r records) load() (map[string]record, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	out := make(map[string]record, len(entries))
	for _, e := range entries {
		var rec record
		switch err := r.read(e.Name(), fileAssignment, &rec.assignment); {
		case errors.Is(err, fs.ErrNotExist):
			if err := os.RemoveAll(r.podDir(e.Name())); err != nil {
				return nil, fmt.Errorf("record %s: %w", e.Name(), err)
			}
			continue
		case errors.Is(err, errDamaged) || err == nil && rec.assignment.Pod == nil:
			continue
		case err != nil:
			return nil, err
		}
		cp := new(checkpoint)
		switch err := r.read(e.Name(), fileCheckpoint, cp); {
		case err == nil:
			rec.checkpoint = cp
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errDamaged):
			return nil, err
		}
		out[e.Name()] = rec
	}
	return out, nil
}

func (r records) read(uid, file string, v any) error {
	raw, err := os.ReadFile(filepath.Join(r.podDir(uid), file))
	if err != nil {
		return fmt.Errorf("record %s/%s: %w", uid, file, err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("record %s/%s: %w: %w", uid, file, errDamaged, err)
	}
	return nil
}
