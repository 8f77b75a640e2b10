package sim

import (
	"strconv"
	"strings"
	"time"
)

// Script is what a simulated process does: it writes, waits and ends.
type Script struct {
	Stdout     string
	Stderr     string
	After      time.Duration // from start to end; unused where Forever
	Forever    bool          // it ends by a signal or by Host.Exit alone
	Code       int32
	OOMKilled  bool
	IgnoreTerm bool  // only SIGKILL ends it
	Echo       bool  // writes its input to its output and ends with it; exec only
	CreateErr  error // Create answers it
	StartErr   error // Start answers it
}

// Interpret understands a little of a shell, enough for the suite that the real runtime passes too:
// true, false, exit, sleep, echo (with >&2), cat, joined by semicolons. What it doesn't know runs
// until it is killed.
func Interpret(command []string) Script {
	if len(command) == 3 && command[0] == "sh" && command[1] == "-c" {
		var all Script
		for line := range strings.SplitSeq(command[2], ";") {
			all.add(strings.Fields(line))
		}
		return all
	}
	var s Script
	s.add(command)
	return s
}

func (s *Script) add(words []string) {
	if len(words) == 0 || s.Forever {
		return
	}
	arg := strings.Join(words[1:], " ")
	switch words[0] {
	case "true":
		s.Code = 0
	case "false":
		s.Code = 1
	case "exit":
		n, _ := strconv.ParseInt(arg, 10, 32)
		s.Code = int32(n)
	case "sleep":
		seconds, err := strconv.ParseFloat(arg, 64)
		s.Forever = err != nil
		s.After += time.Duration(seconds * float64(time.Second))
	case "echo":
		if text, ok := strings.CutSuffix(arg, ">&2"); ok {
			s.Stderr += strings.TrimSpace(text) + "\n"
		} else {
			s.Stdout += arg + "\n"
		}
	case "cat":
		s.Echo = true
	default:
		s.Forever = true
	}
}
