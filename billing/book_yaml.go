package billing

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlReader reads YAML's nodes themselves, so that every complaint has its file, line and field.
type yamlReader struct {
	path     string
	problems []error
}

// field is one of a mapping's.
type field struct {
	name     string
	required bool
	read     func(n *yaml.Node, at string)
}

func (y *yamlReader) complain(n *yaml.Node, at, format string, args ...any) {
	y.problems = append(y.problems, fmt.Errorf("price file %s:%d: %s: %s", y.path, n.Line, at, fmt.Sprintf(format, args...)))
}

func (y *yamlReader) err() error { return errors.Join(y.problems...) }

// document answers a file's one document.
func (y *yamlReader) document(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("price file %s: %w", y.path, err)
	}
	if len(doc.Content) != 1 {
		return nil, fmt.Errorf("price file %s: it is empty", y.path)
	}
	return doc.Content[0], nil
}

// fields visits a mapping that holds some of these and nothing else.
func (y *yamlReader) fields(n *yaml.Node, at string, known ...field) {
	seen := map[string]bool{}
	visited := y.each(n, at, func(key, value *yaml.Node, at string) {
		i := slices.IndexFunc(known, func(f field) bool { return f.name == key.Value })
		if i < 0 {
			y.complain(key, at, "unknown field; want one of %s", names(known))
			return
		}
		seen[key.Value] = true
		known[i].read(value, at)
	})
	for _, f := range known {
		if visited && f.required && !seen[f.name] {
			y.complain(n, below(at, f.name), "missing")
		}
	}
}

func names(fields []field) string {
	var out []string
	for _, f := range fields {
		out = append(out, f.name)
	}
	return strings.Join(out, ", ")
}

// each visits a mapping of names that the file chooses; false where it isn't one.
func (y *yamlReader) each(n *yaml.Node, at string, visit func(key, value *yaml.Node, at string)) bool {
	if n = resolved(n); n.Kind != yaml.MappingNode {
		y.complain(n, at, "want a mapping")
		return false
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], resolved(n.Content[i+1])
		if seen[key.Value] {
			y.complain(key, below(at, key.Value), "given twice")
			continue
		}
		seen[key.Value] = true
		visit(key, value, below(at, key.Value))
	}
	return true
}

// list visits a list's elements.
func (y *yamlReader) list(n *yaml.Node, at string, visit func(n *yaml.Node, at string)) {
	if n.Kind != yaml.SequenceNode {
		y.complain(n, at, "want a list")
		return
	}
	for i, e := range n.Content {
		visit(resolved(e), fmt.Sprintf("%s[%d]", at, i))
	}
}

// text answers a scalar as it is written.
func (y *yamlReader) text(n *yaml.Node, at, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!int", "!!float", "!!str", "!!timestamp"}, n.Tag) || n.Value == "" {
		y.complain(n, at, "want %s", want)
		return "", false
	}
	return n.Value, true
}

// value reads a scalar by a parser, whose error is the complaint.
func value[T any](y *yamlReader, n *yaml.Node, at, want string, parse func(string) (T, error), into *T) {
	s, ok := y.text(n, at, want)
	if !ok {
		return
	}
	v, err := parse(s)
	if err != nil {
		y.complain(n, at, "%v", err)
		return
	}
	*into = v
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func below(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
