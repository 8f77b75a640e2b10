package report

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestDocs: the page of the manual shows what the code prints.
func TestDocs(t *testing.T) {
	const file = "../../docs/billing/reports.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := reportOf(t, query(t, october+"&by=project"), sample(t, time.October)).Table(&table); err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), "```\nPROJECT ")
	_, after, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("%s has no table by project", file)
	}
	want := before + "```\n" + table.String() + "```\n" + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Errorf("%s: the table by project is\n%s", file, table.String())
	}
	for _, name := range Dimensions() {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("%s doesn't say what dimension %s is", file, name)
		}
	}
}
