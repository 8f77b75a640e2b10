package role

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// fileRSS is how much of this process's memory is pages of files, in KiB.
func fileRSS(t *testing.T) (kib int) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "RssFile:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

func TestDropProgramPages(t *testing.T) {
	before := fileRSS(t)
	if err := dropProgramPages(); err != nil {
		t.Fatal(err)
	}
	if after := fileRSS(t); after > before/2 {
		t.Errorf("%d KiB of files' pages before, %d after", before, after)
	}
}
