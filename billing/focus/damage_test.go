package focus

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestDamagedFiles: whatever is in a file, it is told, and nothing else happens.
func TestDamagedFiles(t *testing.T) {
	s := october(t)
	o := s.opts
	o.Version = Version14
	text, binary := s.csv(t, o), s.parquet(t, o)
	r := rand.New(rand.NewPCG(8, 8))
	read := 0
	for i := range 600 {
		damaged := bytes.Clone([][]byte{text, binary}[i%2])
		for range 1 + r.IntN(8) {
			damaged[r.IntN(len(damaged))] = byte(r.IntN(256))
		}
		if r.IntN(4) == 0 {
			damaged = damaged[:r.IntN(len(damaged))]
		}
		var table Table
		var err error
		if i%2 == 0 {
			table, err = OpenCSV(bytes.NewReader(damaged))
		} else {
			table, err = OpenParquet(bytes.NewReader(damaged), int64(len(damaged)))
		}
		if err != nil {
			continue
		}
		if _, err := Validate(table, Version14, CostAndUsage); err == nil {
			read++
		}
	}
	if read == 0 {
		t.Error("not one of the files could be read")
	}
}
