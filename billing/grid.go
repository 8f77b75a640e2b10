package billing

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"

	"go.yaml.in/yaml/v3"
)

// grid are the sizes that a provider sells: rows of a vCPU size and the memory sizes that go with it, both
// ascending.
type grid []gridRow

type gridRow struct {
	milli int64
	bytes []int64
}

// fit answers the first point that holds both: of the fewest vCPU, and of these the least memory. A size beyond
// the grid stays what it is.
func (g grid) fit(milli, bytes int64) (int64, int64) {
	i, _ := slices.BinarySearchFunc(g, milli, func(row gridRow, milli int64) int { return cmp.Compare(row.milli, milli) })
	for _, row := range g[i:] {
		if j, _ := slices.BinarySearch(row.bytes, bytes); j < len(row.bytes) {
			return row.milli, row.bytes[j]
		}
	}
	return milli, bytes
}

// maxGridPoints bounds what a range may come to.
const maxGridPoints = 100_000

// grid reads a list of {vcpu: …, gib: …}, each a number, a list of numbers or a range.
func (p *bookParser) grid(n *yaml.Node, at string) {
	sizes := map[int64][]int64{}
	points := 0
	p.list(n, at, func(n *yaml.Node, at string) {
		var cpus, memory []int64
		p.fields(n, at,
			field{"vcpu", true, func(n *yaml.Node, at string) { cpus = p.points(n, at, milliOf) }},
			field{"gib", true, func(n *yaml.Node, at string) { memory = p.points(n, at, bytesOf) }})
		if points += len(cpus) * len(memory); points > maxGridPoints {
			p.complain(n, at, "a grid of more than %d sizes", maxGridPoints)
			return
		}
		for _, c := range cpus {
			sizes[c] = append(sizes[c], memory...)
		}
	})
	for milli, bytes := range sizes {
		if slices.Sort(bytes); len(bytes) > 0 {
			p.book.grid = append(p.book.grid, gridRow{milli, slices.Compact(bytes)})
		}
	}
	slices.SortFunc(p.book.grid, func(a, b gridRow) int { return cmp.Compare(a.milli, b.milli) })
}

func (p *bookParser) points(n *yaml.Node, at string, parse func(string) (int64, error)) (out []int64) {
	one := func(n *yaml.Node, at string) (v int64) {
		value(&p.yamlReader, n, at, "a size such as 0.5", parse, &v)
		return v
	}
	switch n.Kind {
	case yaml.SequenceNode:
		p.list(n, at, func(n *yaml.Node, at string) { out = append(out, one(n, at)) })
	case yaml.MappingNode:
		var from, to, step int64
		before := len(p.problems)
		p.fields(n, at, field{"from", true, func(n *yaml.Node, at string) { from = one(n, at) }},
			field{"to", true, func(n *yaml.Node, at string) { to = one(n, at) }},
			field{"step", true, func(n *yaml.Node, at string) { step = one(n, at) }})
		if len(p.problems) > before {
			return nil
		}
		if from > to || (to-from)/step >= maxGridPoints {
			p.complain(n, at, "want from at most to, and at most %d steps", maxGridPoints)
			return nil
		}
		for v := from; v <= to; v += step {
			out = append(out, v)
		}
	default:
		out = append(out, one(n, at))
	}
	return out
}

// milliOf reads vCPU into thousandths.
func milliOf(s string) (int64, error) {
	v, err := parseDecimal(s, 3)
	if err != nil || v.Sign() <= 0 || v.BitLen() > 40 {
		return 0, fmt.Errorf("%q: want more than nothing, such as 0.25, of at most three decimal places", s)
	}
	return v.Int64(), nil
}

// bytesOf reads GiB into bytes.
func bytesOf(s string) (int64, error) {
	v, err := parseDecimal(s, 9)
	if err == nil {
		rest := new(big.Int)
		v.Lsh(v, 30).QuoRem(v, big.NewInt(1e9), rest)
		if v.Sign() > 0 && rest.Sign() == 0 && v.BitLen() <= 60 && v.Int64()%(1<<20) == 0 {
			return v.Int64(), nil
		}
	}
	return 0, fmt.Errorf("%q: want more than nothing, such as 0.5, in whole MiB", s)
}
