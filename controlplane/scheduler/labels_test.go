package scheduler

import (
	"fmt"
	"maps"
	"reflect"
	"testing"
)

func TestEqualLabelsAreShared(t *testing.T) {
	l := newLabelSets()
	set := func() map[string]string { return map[string]string{"app": "a", "tier": "b", "c": ""} }
	first := l.share(set())
	if again := l.share(set()); reflect.ValueOf(again).Pointer() != reflect.ValueOf(first).Pointer() {
		t.Error("equal labels are held twice")
	}
	for _, other := range []map[string]string{{"app": "b", "tier": "a", "c": ""}, {"app": "a", "tier": "b"}, {"app": "a"}, {}, nil} {
		if got := l.share(other); !maps.Equal(got, other) {
			t.Errorf("%v became %v", other, got)
		}
	}
	for i := range 2 * maxLabelSets {
		own := map[string]string{"index": fmt.Sprint(i)}
		if got := l.share(own); !maps.Equal(got, own) {
			t.Fatalf("%v became %v", own, got)
		}
	}
	if len(l.known) > maxLabelSets {
		t.Errorf("%d sets are remembered", len(l.known))
	}
}
