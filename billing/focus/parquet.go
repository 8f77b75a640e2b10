package focus

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// Decimals are DECIMAL(38,21) in 16 bytes: Money's own form, so that no number is rounded on its way.
const (
	precision = 38
	scale     = 21
)

// rowGroup bounds what a writer holds.
const rowGroup = 1 << 16

type parquetWriter struct {
	w       *parquet.Writer
	columns []Column
	batch   []parquet.Row
}

// batchRows are handed to the library together.
const batchRows = 256

// NewParquet writes rows of these columns as Parquet. meta is kept in the file's footer.
func NewParquet(w io.Writer, columns []Column, meta map[string]string) (Writer, error) {
	group := parquet.Group{}
	for _, c := range columns {
		var n parquet.Node
		switch c.Type {
		case Decimal:
			n = parquet.Decimal(scale, precision, parquet.FixedLenByteArrayType(16))
		case DateTime:
			n = parquet.Timestamp(parquet.Millisecond)
		default: // JSON too: readers have bytes for the type of that name, and FOCUS wants a string
			n = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
		}
		if c.Nullable {
			n = parquet.Optional(n)
		}
		group[c.Name] = n
	}
	if !slices.IsSortedFunc(columns, func(a, b Column) int { return strings.Compare(a.Name, b.Name) }) {
		return nil, fmt.Errorf("Parquet file: the columns aren't sorted by name")
	}
	options := []parquet.WriterOption{parquet.NewSchema("focus", group), parquet.Compression(&zstd.Codec{}), parquet.MaxRowsPerRowGroup(rowGroup)}
	for k, v := range meta {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	return &parquetWriter{w: parquet.NewWriter(w, options...), columns: columns}, nil
}

func (w *parquetWriter) Write(row Row) error {
	values := make(parquet.Row, len(row))
	for i, v := range row {
		value, level := parquet.Value{}, 0
		switch v.kind {
		case null:
			if !w.columns[i].Nullable {
				return fmt.Errorf("Parquet file: %s must not be null", w.columns[i].Name)
			}
			values[i] = parquet.NullValue().Level(0, 0, i)
			continue
		case decimal:
			b := v.money.Bytes()
			value = parquet.FixedLenByteArrayValue(b[:])
		case moment:
			value = parquet.Int64Value(v.ms)
		case text:
			value = parquet.ByteArrayValue([]byte(v.text))
		}
		if w.columns[i].Nullable {
			level = 1
		}
		values[i] = value.Level(0, level, i)
	}
	if w.batch = append(w.batch, values); len(w.batch) == batchRows {
		return w.flush()
	}
	return nil
}

func (w *parquetWriter) flush() error {
	_, err := w.w.WriteRows(w.batch)
	w.batch = w.batch[:0]
	return err
}

func (w *parquetWriter) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.w.Close()
}

// parquetTable reads flat files, of any writer.
type parquetTable struct {
	rows    *parquet.Reader
	header  []string
	leaves  []parquet.Node
	buffer  []parquet.Row
	pending []parquet.Row
	fields  []field
}

// OpenParquet reads a Parquet file.
func OpenParquet(r io.ReaderAt, size int64) (_ Table, err error) {
	defer damage(&err)
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("Parquet file: %w", err)
	}
	t := &parquetTable{rows: parquet.NewReader(f), buffer: make([]parquet.Row, batchRows)}
	for _, n := range f.Schema().Fields() {
		if !n.Leaf() || n.Repeated() {
			return nil, fmt.Errorf("Parquet file: column %s is nested; want a value (JSON as a string)", n.Name())
		}
		t.header = append(t.header, n.Name())
		t.leaves = append(t.leaves, n)
	}
	t.fields = make([]field, len(t.header))
	return t, nil
}

// damage makes an error of the library's panics, which is what it has for files that are damaged.
func damage(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("Parquet file: it is damaged: %v", p)
	}
}

func (t *parquetTable) names() []string { return t.header }

func (t *parquetTable) physical(i int) (Type, bool) {
	typ := t.leaves[i].Type()
	switch logical(typ).(type) {
	case *format.DecimalType:
		return Decimal, true
	case *format.TimestampType, *format.DateType:
		return DateTime, true
	}
	switch typ.Kind() {
	case parquet.Int32, parquet.Int64, parquet.Float, parquet.Double:
		return Decimal, true
	}
	return String, true
}

func logical(t parquet.Type) any {
	if l := t.LogicalType(); l != nil {
		return l.Value
	}
	return nil
}

func (t *parquetTable) next() (_ []field, err error) {
	defer damage(&err)
	if len(t.pending) == 0 {
		n, err := t.rows.ReadRows(t.buffer)
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("Parquet file: %w", err)
			}
			return nil, err
		}
		t.pending = t.buffer[:n]
	}
	for _, v := range t.pending[0] {
		i := v.Column()
		t.fields[i] = field{null: v.IsNull()}
		if !v.IsNull() {
			t.fields[i].text = readValue(t.leaves[i].Type(), v)
		}
	}
	t.pending = t.pending[1:]
	return t.fields, nil
}

// readValue is the value as a CSV file has it.
func readValue(t parquet.Type, v parquet.Value) string {
	switch l := logical(t).(type) {
	case *format.DecimalType:
		return readDecimal(v, int(l.Scale))
	case *format.TimestampType:
		n := v.Int64()
		moment := time.Unix(0, n)
		switch l.Unit.Value.(type) {
		case *format.MilliSeconds:
			moment = time.UnixMilli(n)
		case *format.MicroSeconds:
			moment = time.UnixMicro(n)
		}
		if !l.IsAdjustedToUTC {
			return moment.UTC().Format("2006-01-02T15:04:05") // nobody knows where, and it is refused
		}
		return moment.UTC().Format(timeForm)
	case *format.DateType:
		return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
	}
	if k := t.Kind(); k == parquet.ByteArray || k == parquet.FixedLenByteArray {
		return string(v.ByteArray())
	}
	return v.String()
}

// readDecimal is an integer of 10^-places, in any of the forms that Parquet has for it.
func readDecimal(v parquet.Value, places int) string {
	n := new(big.Int)
	switch v.Kind() {
	case parquet.Int32:
		n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		n.SetInt64(v.Int64())
	default:
		b := v.ByteArray()
		if n.SetBytes(b); len(b) > 0 && b[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
	}
	s := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)).FloatString(places)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
