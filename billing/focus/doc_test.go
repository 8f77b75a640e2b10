package focus

import (
	"os"
	"regexp"
	"testing"
)

// TestColumnsAreDocumented: FOCUS wants custom columns documented, and readers the others.
func TestColumnsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/billing/focus.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, word := range regexp.MustCompile(`[A-Za-z_]+`).FindAllString(string(page), -1) {
		named[word] = true
	}
	for d := range datasets {
		for _, v := range []Version{Version12, Version14} {
			if !Dataset(d).In(v) {
				continue
			}
			for _, c := range Columns(v, Dataset(d)) {
				if !named[c.Name] {
					t.Errorf("docs/billing/focus.md doesn't name %s of %s", c.Name, Dataset(d))
				}
			}
		}
	}
}
