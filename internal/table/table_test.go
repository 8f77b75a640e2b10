package table

import (
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	tab := New(Column{Name: "NAME"}, Column{Name: "CPU", Right: true}, Column{Name: "NODE"})
	var out strings.Builder
	print := func(rows ...[]string) {
		t.Helper()
		if err := tab.Print(&out, rows...); err != nil {
			t.Fatal(err)
		}
	}
	print([]string{"web", "250m→2", "n1"}, []string{"a-longer-name", "1", ""})
	print([]string{"late", "4", "n2"})
	want := `NAME               CPU   NODE
web             250m→2   n1
a-longer-name        1
late                 4   n2
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestPrintWithoutRowsStillHasAHeading(t *testing.T) {
	var out strings.Builder
	if err := New(Column{Name: "A"}, Column{Name: "B"}).Print(&out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "A   B\n" {
		t.Errorf("got %q", out.String())
	}
}
