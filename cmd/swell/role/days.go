package role

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// days is a flag's number of days.
type days int

func (d *days) String() string {
	if *d == 0 {
		return "0"
	}
	return fmt.Sprintf("%dd", int(*d))
}

// maxDays is a hundred years: more doesn't fit into a duration three times over.
const maxDays = 36525

func (d *days) Set(s string) error {
	number, ok := strings.CutSuffix(s, "d")
	n, err := strconv.Atoi(number)
	if s == "0" {
		ok = true
	}
	if !ok || err != nil || n < 0 || n > maxDays {
		return errors.New("want days such as 800d, or 0 for ever")
	}
	*d = days(n)
	return nil
}

func (d *days) Type() string { return "days" }

func (d days) duration() time.Duration { return time.Duration(d) * 24 * time.Hour }
