package ledger

import (
	"reflect"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

func FuzzContents(f *testing.F) {
	full := segment("a", 1, time.Hour, 49*time.Hour)
	full.Region, full.GPU, full.StorageBytes = "eu-1", usagev1.GPU{Model: "H100", Milli: 500, MemoryMiB: 40960}, 20<<30
	full.Burst = usagev1.Burst{Millis: 1, CPUMillis: 2, MemoryMillis: 1 << 60}
	for _, s := range []usagev1.Segment{full, segment("b", 2, 0, 1), {ID: usagev1.ID{PodUID: "c"}, Start: time.UnixMilli(-5).UTC(), End: time.UnixMilli(-1).UTC()}} {
		r, err := newRow(&s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.data)
		for i := range r.data { // no part of it is taken for the whole
			var d decoder
			if _, err := d.segment(r.data[:i], &Filter{}, &usagev1.Segment{}); err == nil {
				f.Fatalf("%d of %d bytes are decoded", i, len(r.data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d decoder
		var s usagev1.Segment
		chosen, err := d.segment(data, &Filter{}, &s)
		if err != nil {
			return
		}
		if !chosen {
			t.Fatal("a filter that chooses all doesn't choose it")
		}
		s.PodUID = "a"
		r, err := newRow(&s)
		if err != nil {
			return // it isn't what a row is made of: not text, or it ends before it starts
		}
		var back usagev1.Segment
		back.PodUID = "a"
		if _, err := d.segment(r.data, &Filter{}, &back); err != nil || !reflect.DeepEqual(s, back) && !(len(s.Labels) == 0 && len(back.Labels) == 0) {
			t.Fatalf("%+v is read back as %+v (%v)", s, back, err)
		}
	})
}

// TestDigestsStand: a copy that a later version of the program makes of an old segment must have its digest. This
// one is in ledgers.
func TestDigestsStand(t *testing.T) {
	s := segment("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", 3, time.Hour, 2*time.Hour)
	s.Region = "eu-1"
	r, err := newRow(&s)
	if err != nil || r.digest != digestOfThat {
		t.Errorf("%d, %v", r.digest, err)
	}
}

const digestOfThat = -3648415055070956298

func TestPodKeys(t *testing.T) {
	uuid := "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
	if raw, is := podKey(uuid).([]byte); !is || len(raw) != 16 {
		t.Errorf("%v", podKey(uuid))
	}
	for _, uid := range []string{uuid, "F81D4FAE-7dec-11d0-a765-00a0c91e6bf6", "short", "f81d4fae-7dec-11d0-a765-00a0c91e6bf", "zzzzzzzz-7dec-11d0-a765-00a0c91e6bf6", "0123456789abcdef"} {
		if got := podOf(podKey(uid)); got != uid {
			t.Errorf("%q is %q", uid, got)
		}
	}
}
