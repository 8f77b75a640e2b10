package focus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseObject reads a JSON object whose keys are unique at every level. A flat one has neither objects nor arrays in
// it. Numbers are json.Number.
func parseObject(s string, flat bool) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("%q is no JSON", s)
	}
	if t != json.Delim('{') {
		return nil, fmt.Errorf("%s is no JSON object", s)
	}
	object, err := members(d, flat)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s goes on after the object", s)
	}
	return object, nil
}

func members(d *json.Decoder, flat bool) (map[string]any, error) {
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
		if object[name], err = value(d, flat); err != nil {
			return nil, err
		}
		if _, nested := object[name].(map[string]any); nested && flat {
			return nil, fmt.Errorf("the value of %q is an object", name)
		}
		if _, nested := object[name].([]any); nested && flat {
			return nil, fmt.Errorf("the value of %q is an array", name)
		}
	}
	_, err := d.Token()
	return object, err
}

func value(d *json.Decoder, flat bool) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return members(d, flat)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := value(d, flat)
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
