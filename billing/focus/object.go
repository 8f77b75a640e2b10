package focus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// objects remembers what texts are as JSON: rows have the same ones over and over.
type objects map[string]parsed

type parsed struct {
	object map[string]any
	err    error
}

// maxObjects are remembered.
const maxObjects = 1 << 12

func (o objects) parse(s string) (map[string]any, error) {
	p, ok := o[s]
	if !ok {
		if len(o) >= maxObjects {
			clear(o)
		}
		p.object, p.err = parseObject(s)
		o[strings.Clone(s)] = p
	}
	return p.object, p.err
}

// nested says what of an object is no value.
func nested(o map[string]any) error {
	for key, v := range o {
		switch v.(type) {
		case map[string]any:
			return fmt.Errorf("the value of %q is an object", key)
		case []any:
			return fmt.Errorf("the value of %q is an array", key)
		}
	}
	return nil
}

// parseObject reads a JSON object whose keys are unique at every level. Numbers are json.Number.
func parseObject(s string) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("%q is no JSON", s)
	}
	if t != json.Delim('{') {
		return nil, fmt.Errorf("%s is no JSON object", s)
	}
	object, err := members(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s goes on after the object", s)
	}
	return object, nil
}

func members(d *json.Decoder) (map[string]any, error) {
	object := map[string]any{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("key %q is there twice", name)
		}
		if object[name], err = value(d); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, err
}

func value(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return members(d)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := value(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}
