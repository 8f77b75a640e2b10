package billing

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Books are the versions of a price book, each of which holds from its date until the next one's.
type Books struct {
	books []*Book // by date
}

// NewBooks makes a set: of one currency, and of versions and dates that differ.
func NewBooks(books ...*Book) (*Books, error) {
	if len(books) == 0 {
		return nil, errors.New("price books: there are none")
	}
	sorted := slices.Clone(books)
	slices.SortFunc(sorted, func(a, b *Book) int { return a.Effective.Compare(b.Effective) })
	versions := map[string]bool{}
	for i, b := range sorted {
		switch {
		case versions[b.Version]:
			return nil, fmt.Errorf("price books: version %q is there twice; give each a name of its own", b.Version)
		case i > 0 && b.Currency != sorted[0].Currency:
			return nil, fmt.Errorf("price books: version %q is in %s, version %q in %s; a set has one currency", sorted[0].Version, sorted[0].Currency, b.Version, b.Currency)
		case i > 0 && b.Effective.Equal(sorted[i-1].Effective):
			return nil, fmt.Errorf("price books: versions %q and %q both hold from %s on", sorted[i-1].Version, b.Version, b.Effective.Format(time.RFC3339))
		}
		versions[b.Version] = true
	}
	return &Books{sorted}, nil
}

// All answers the books by date.
func (s *Books) All() []*Book { return s.books }

// Currency is the one of all.
func (s *Books) Currency() string { return s.books[0].Currency }

// At answers the book that holds at an instant, in Unix milliseconds; nil before the first one.
func (s *Books) At(ms int64) *Book {
	for i := len(s.books) - 1; i >= 0; i-- {
		if s.books[i].Effective.UnixMilli() <= ms {
			return s.books[i]
		}
	}
	return nil
}

// Before is the error of an instant at which no book holds yet.
func (s *Books) Before(ms int64) error {
	first := s.books[0]
	return fmt.Errorf("no price book holds at %s: the earliest, %s, holds from %s on",
		time.UnixMilli(ms).UTC().Format(time.RFC3339), first.Version, first.Effective.Format(time.RFC3339))
}

// Boundaries answers the instants within (from, to) at which another book begins to hold.
func (s *Books) Boundaries(from, to int64) []int64 {
	var out []int64
	for _, b := range s.books[1:] {
		if t := b.Effective.UnixMilli(); from < t && t < to {
			out = append(out, t)
		}
	}
	return out
}

//go:embed books/*.yaml
var shipped embed.FS

// DefaultBook is the shipped one that holds where nobody says otherwise.
const DefaultBook = "exact"

// Shipped answers the names of the books that come with Swell.
func Shipped() []string {
	files, _ := shipped.ReadDir("books")
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	return out
}

// ShippedBook answers one by its name.
func ShippedBook(name string) (*Book, error) {
	data, err := shipped.ReadFile(path.Join("books", name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("price book %q: Swell ships %s", name, strings.Join(Shipped(), " and "))
	}
	return ParseBook(name+".yaml", data)
}

// LoadBooks reads a shipped book by its name, a price file, or a folder of price files, one for each version.
func LoadBooks(where string) (*Books, error) {
	if slices.Contains(Shipped(), where) {
		b, err := ShippedBook(where)
		if err != nil {
			return nil, err
		}
		return NewBooks(b)
	}
	info, err := os.Stat(where)
	if err != nil {
		return nil, fmt.Errorf("price file: %w; want a file, a folder of files, or one of %s", err, strings.Join(Shipped(), ", "))
	}
	files := []string{where}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(where, "*.yaml")); err != nil {
			return nil, fmt.Errorf("price files %s: %w", where, err)
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("price files %s: the folder has no *.yaml", where)
		}
	}
	var books []*Book
	var problems []error
	for _, file := range files {
		b, err := readBook(file)
		books, problems = append(books, b), append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return NewBooks(books...)
}

// maxBookBytes is more than any book.
const maxBookBytes = 4 << 20

func readBook(file string) (*Book, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("price file: %w", err)
	}
	if info.Size() > maxBookBytes {
		return nil, fmt.Errorf("price file %s: it is larger than %d bytes", file, maxBookBytes)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("price file: %w", err)
	}
	return ParseBook(file, data)
}

// Next answers when the book that holds at an instant is followed by another one.
func (s *Books) Next(ms int64) (int64, bool) {
	for _, b := range s.books {
		if t := b.Effective.UnixMilli(); t > ms {
			return t, true
		}
	}
	return 0, false
}
