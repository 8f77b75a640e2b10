package ledger

import (
	"fmt"
	"testing"
)

func TestNames(t *testing.T) {
	var n names
	for i := range blockEntries {
		n.add("ns", fmt.Sprint("pod-", i))
	}
	for i := range blockEntries {
		if !n.may("ns", fmt.Sprint("pod-", i)) {
			t.Fatalf("pod-%d is missing", i)
		}
	}
	wrong := 0
	for i := range 10_000 {
		if n.may("other", fmt.Sprint("pod-", i)) {
			wrong++
		}
	}
	if wrong > 600 {
		t.Errorf("%d of 10000 that aren't there may be", wrong)
	}
}
