package focus

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
)

// csvWriter writes RFC 4180, UTF-8, with a line of names. Null is empty.
type csvWriter struct {
	w      *csv.Writer
	fields []string
}

// NewCSV writes rows of these columns as CSV.
func NewCSV(w io.Writer, columns []Column) (Writer, error) {
	out := &csvWriter{w: csv.NewWriter(w), fields: make([]string, len(columns))}
	for i, c := range columns {
		out.fields[i] = c.Name
	}
	return out, out.w.Write(out.fields)
}

func (w *csvWriter) Write(row Row) error {
	for i, v := range row {
		w.fields[i] = v.String()
	}
	return w.w.Write(w.fields)
}

func (w *csvWriter) Close() error {
	w.w.Flush()
	return w.w.Error()
}

// field of a file that is read: its text as CSV has it.
type field struct {
	text string
	null bool
}

// Table is a file that is read row by row.
type Table interface {
	// names of the columns.
	names() []string
	// physical is the type that the file itself gives a column; ok is false where it has none (CSV).
	physical(i int) (t Type, ok bool)
	// next fills the fields of the next row; io.EOF says that there is none. The fields stay valid until the next call.
	next() ([]field, error)
}

type csvTable struct {
	r      *csv.Reader
	header []string
	fields []field
}

// OpenCSV reads a CSV file with a line of names.
func OpenCSV(r io.Reader) (Table, error) {
	t := &csvTable{r: csv.NewReader(r)}
	header, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("CSV file: it is empty; want a first line of column names")
	}
	if err != nil {
		return nil, fmt.Errorf("CSV file: %w", err)
	}
	t.header = header
	t.fields = make([]field, len(header))
	t.r.ReuseRecord = true
	return t, nil
}

func (t *csvTable) names() []string { return t.header }

func (t *csvTable) physical(int) (Type, bool) { return 0, false }

func (t *csvTable) next() ([]field, error) {
	record, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("CSV file: %w", err)
	}
	for i, s := range record {
		t.fields[i] = field{s, s == ""}
	}
	return t.fields, nil
}
