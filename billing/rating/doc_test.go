package rating_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/rating"
)

// TestTheDocumentsExample reads the book and the bill of docs/billing/prices.md and rates them.
func TestTheDocumentsExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/billing/prices.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(doc)
	_, book, _ := strings.Cut(text, "```yaml\n")
	book, _, _ = strings.Cut(book, "```")
	set := books(t, book)
	var want []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+ s|) ?\|.*$`).FindAllString(text, -1) {
		want = append(want, strings.Join(strings.Fields(row), " "))
	}
	at := set.All()[0].Effective
	var got []string
	var total billing.Money
	rater := &rating.Rater{Books: set}
	for i, s := range []struct{ cpu, from, to int64 }{{2000, 0, 100}, {4000, 100, 150}} {
		seg := usagev1.Segment{
			ID: usagev1.ID{PodUID: "p", Generation: int64(i + 1), Sequence: int64(i + 1)}, ComputeClass: "general-purpose", QoS: "default",
			CPUMilli: s.cpu, MemoryBytes: 4 << 30, Start: at.Add(time.Duration(s.from) * time.Second), End: at.Add(time.Duration(s.to) * time.Second),
		}
		if err := rater.Rate(&seg, func(l *billing.Line) error {
			size := int64(4)
			if l.Item.SKU.Resource == billing.CPU {
				size = s.cpu / 1000
			}
			total = total.Plus(l.List())
			got = append(got, fmt.Sprintf("| %d s | %d s | %s | %d | %s | %s | %s |", s.from, s.to, l.Item.ID, size, l.Quantity.Hours(), l.Item.Price, l.List()))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	got = append(got, fmt.Sprintf("| | | total | | | | %s |", total))
	if !slices.Equal(got, want) {
		t.Errorf("the code says\n%s\nthe document\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
