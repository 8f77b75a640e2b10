package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// A run is a file with segments of one day in canonical order, written once and never changed: a SQLite database
// whose blocks are entries, compressed with a checksum. Dropping a day is removing its runs.
const runSchema = `
CREATE TABLE blocks (
	id INTEGER PRIMARY KEY, first_pod TEXT NOT NULL, entries INTEGER NOT NULL, names BLOB NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX blocks_by_pod ON blocks (first_pod);
`

// blockEntries are the entries of a block: what is decoded to find one segment.
const blockEntries = 1024

// runWriter makes a run.
type runWriter struct {
	path   string
	db     *sql.DB
	tx     *sql.Tx
	insert *sql.Stmt
	pack   *zstd.Encoder

	block   []byte
	first   string
	names   names
	n       int // entries of the block
	entries int64
	maxEnd  int64
	packed  []byte
}

func runURL(path, query string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query
}

func newRun(path string) (_ *runWriter, err error) {
	w := &runWriter{path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.abandon())
		}
	}()
	if w.pack, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true)); err != nil {
		return w, err
	}
	// The file counts when it is whole and synced: until then nothing of it has to be.
	if w.db, err = sql.Open("sqlite", runURL(path, "_pragma=page_size(16384)&_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=locking_mode(EXCLUSIVE)")); err != nil {
		return w, err
	}
	w.db.SetMaxOpenConns(1)
	if _, err = w.db.Exec(runSchema); err != nil {
		return w, err
	}
	if w.tx, err = w.db.Begin(); err != nil {
		return w, err
	}
	w.insert, err = w.tx.Prepare("INSERT INTO blocks VALUES (NULL, ?, ?, ?, ?)")
	return w, err
}

// add appends an entry, which comes after those before.
func (w *runWriter) add(e *entry) error {
	if w.n == 0 {
		w.first = e.uid
	}
	namespace, pod, _, end, err := headOf(e.data)
	if err != nil {
		return fmt.Errorf("segment %s: %w", e.id(), err)
	}
	w.names.add(string(namespace), string(pod))
	if w.entries == 0 || end > w.maxEnd {
		w.maxEnd = end
	}
	w.block = appendEntry(w.block, e)
	w.entries++
	if w.n++; w.n == blockEntries {
		return w.flush()
	}
	return nil
}

func (w *runWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	w.packed = w.pack.EncodeAll(w.block, w.packed[:0])
	_, err := w.insert.Exec(w.first, w.n, w.names[:], w.packed)
	w.block, w.n, w.names = w.block[:0], 0, names{}
	return err
}

// finish makes the run durable.
func (w *runWriter) finish() error {
	err := w.flush()
	if err == nil {
		err = w.insert.Close()
	}
	if err == nil {
		err = w.tx.Commit()
	}
	if err == nil {
		err = w.db.Close()
	}
	if err == nil {
		err = syncPath(w.path)
	}
	if err == nil {
		err = syncPath(filepath.Dir(w.path))
	}
	if err != nil {
		return errors.Join(err, w.abandon())
	}
	return nil
}

// abandon removes what there is of it.
func (w *runWriter) abandon() error {
	var errs []error
	if w.tx != nil {
		_ = w.tx.Rollback() // no effect after Commit
	}
	if w.db != nil {
		errs = append(errs, w.db.Close())
	}
	if err := os.Remove(w.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// runReader reads a run's entries in order.
type runReader struct {
	path   string
	db     *sql.DB
	rows   *sql.Rows
	unpack *zstd.Decoder
	uid    string // of which entries are wanted; empty: all

	raw   sql.RawBytes
	block []byte
	list  []entry
	next  int
}

// openRun opens a run, for the entries of one pod or of all. Blocks that have nothing that a filter chooses are left
// out where that is known.
func openRun(ctx context.Context, path string, f *Filter, unpack *zstd.Decoder) (_ *runReader, err error) {
	r := &runReader{path: path, unpack: unpack, uid: f.UID}
	if r.db, err = sql.Open("sqlite", runURL(path, "immutable=1&mode=ro")); err != nil {
		return nil, err
	}
	text, args := "SELECT data FROM blocks ORDER BY id", []any(nil)
	switch {
	case f.UID != "":
		// From the last block that begins before the pod, which may have the first of it.
		text = "SELECT data FROM blocks WHERE id >= coalesce((SELECT max(id) FROM blocks WHERE first_pod < ?1), 0) AND first_pod <= ?1 ORDER BY id"
		args = []any{f.UID}
	case f.Namespace != "" && f.Pod != "":
		var ids []byte
		if ids, err = r.named(ctx, f.Namespace, f.Pod); err != nil {
			return nil, errors.Join(fmt.Errorf("run %s: %w", path, err), r.db.Close())
		}
		text = "SELECT data FROM blocks WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
		args = []any{string(ids)}
	}
	if r.rows, err = r.db.QueryContext(ctx, text, args...); err != nil {
		return nil, errors.Join(fmt.Errorf("run %s: %w", path, err), r.db.Close())
	}
	return r, nil
}

// named answers the ids of blocks that may have segments of a pod, as JSON.
func (r *runReader) named(ctx context.Context, namespace, pod string) ([]byte, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT id, names FROM blocks")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ids := []int64{}
	var raw sql.RawBytes
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id, &raw); err != nil {
			return nil, err
		}
		if len(raw) != len(names{}) {
			return nil, errEntry
		}
		if (*names)(raw).may(namespace, pod) {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return json.Marshal(ids)
}

// peek answers the next entry, nil after the last. It is good until advance.
func (r *runReader) peek() (*entry, error) {
	for {
		for r.next < len(r.list) {
			if e := &r.list[r.next]; r.uid == "" || e.uid == r.uid {
				return e, nil
			}
			r.next++
		}
		if !r.rows.Next() {
			if err := r.rows.Err(); err != nil {
				return nil, fmt.Errorf("run %s: %w", r.path, err)
			}
			return nil, nil
		}
		err := r.rows.Scan(&r.raw)
		if err == nil {
			r.block, err = r.unpack.DecodeAll(r.raw, r.block[:0])
		}
		if err == nil {
			r.list, err = decodeEntries(r.list[:0], r.block)
		}
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", r.path, err)
		}
		r.next = 0
	}
}

func (r *runReader) advance() { r.next++ }

func (r *runReader) close() error { return errors.Join(r.rows.Close(), r.db.Close()) }
