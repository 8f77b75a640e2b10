package role

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap of a control plane grow to three times what is alive between two collections: objects
// live long there, and each collection looks at all of them. GOGC, where it is set, holds instead.
const gcPercent = 200

func relaxGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
