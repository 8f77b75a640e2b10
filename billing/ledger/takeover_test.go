package ledger

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Tables as earlier versions made them: without bursts, and with them.
var earlierTables = map[string]string{
	"bursts": `CREATE TABLE segments (pod_uid TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
		namespace TEXT NOT NULL, pod TEXT NOT NULL, node TEXT NOT NULL, class TEXT NOT NULL, qos TEXT NOT NULL,
		cpu_milli INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL CHECK (end_ms >= start_ms),
		labels TEXT NOT NULL, burst_ms INTEGER NOT NULL DEFAULT 0, burst_cpu_milli_ms INTEGER NOT NULL DEFAULT 0, burst_memory_mib_ms INTEGER NOT NULL DEFAULT 0,
		PRIMARY KEY (pod_uid, generation, sequence)) STRICT, WITHOUT ROWID`,
	"no bursts": `CREATE TABLE segments (pod_uid TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
		namespace TEXT NOT NULL, pod TEXT NOT NULL, node TEXT NOT NULL, class TEXT NOT NULL, qos TEXT NOT NULL,
		cpu_milli INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
		labels TEXT NOT NULL, PRIMARY KEY (pod_uid, generation, sequence)) STRICT, WITHOUT ROWID`,
}

// TestEarlierFile: what a ledger of an earlier version holds is taken over at the first start, once.
func TestEarlierFile(t *testing.T) {
	for name, table := range earlierTables {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ledger")
			old := dir + ".db"
			want := []usagev1.Segment{segment("a", 1, 0, time.Minute), segment("b", 1, 0, time.Hour)}
			want[1].Labels = nil
			bursts := ""
			if name == "bursts" {
				want[0].Burst = usagev1.Burst{Millis: 1, CPUMillis: 2, MemoryMillis: 3}
				bursts = ", 1, 2, 3"
			}
			db, err := sql.Open("sqlite", "file:"+old+"?_pragma=journal_mode(WAL)")
			if err != nil {
				t.Fatal(err)
			}
			row := func(uid, end, labels, bursts string) string {
				return `INSERT INTO segments VALUES ('` + uid + `', 1, 1, 'default', 'pod-` + uid + `', 'n', 'general-purpose', 'default', 250, 536870912, 1772323200000, ` + end + `, '` + labels + `'` + bursts + `)`
			}
			none := bursts
			if none != "" {
				none = ", 0, 0, 0"
			}
			for _, statement := range []string{table, row("b", "1772326800000", "null", none), row("a", "1772323260000", `{"app":"a"}`, bursts)} {
				if _, err := db.Exec(statement); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				l, err := Open(t.Context(), dir)
				if err != nil {
					t.Fatal(err)
				}
				if got := all(t, l, Filter{}); !sameSegments(got, want) {
					t.Errorf("%+v", got)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the old file: %v", err)
			}
			if _, err := os.Stat(old + ".taken-over"); err != nil {
				t.Error(err)
			}
		})
	}
}
