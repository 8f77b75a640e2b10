package role

import "testing"

// TestDownNeedsNoFlags: swell down has none of a nodelet's flags, and has to be able to remove what one made.
func TestDownNeedsNoFlags(t *testing.T) {
	if err := new(nodeletConfig).complete(); err != nil {
		t.Error(err)
	}
}
