package role

import (
	"strings"
	"testing"
	"time"
)

func TestDays(t *testing.T) {
	for in, want := range map[string]time.Duration{"0": 0, "0d": 0, "1d": 24 * time.Hour, "800d": 800 * 24 * time.Hour} {
		var d days
		if err := d.Set(in); err != nil || d.duration() != want {
			t.Errorf("%s is %s (%v), want %s", in, d.duration(), err, want)
		}
	}
	for _, bad := range []string{"", "800", "-1d", "1h", "d", "1.5d", "99999999d"} {
		var d days
		if err := d.Set(bad); err == nil || !strings.Contains(err.Error(), "800d") {
			t.Errorf("%q is %s (%v)", bad, d.String(), err)
		}
	}
}
