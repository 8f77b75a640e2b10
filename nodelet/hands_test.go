package nodelet

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestHandsDoEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hands
		for range 3 {
			var together sync.WaitGroup
			together.Add(3 * idleHands)
			for range 3 * idleHands {
				h.do(func() {
					together.Done()
					together.Wait() // ends if each has a goroutine
				})
			}
			synctest.Wait()
			if len(h.idle) != idleHands {
				t.Errorf("%d wait for something to do, want %d", len(h.idle), idleHands)
			}
		}
		h.close() // a hand that stayed would keep the test from ending
		done := false
		h.do(func() { done = true })
		h.close()
		if !done {
			t.Error("nothing is done behind close")
		}
	})
}
