package client

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// format is the value of -o; empty is the table.
type format struct {
	value   string
	allowed []string
}

const (
	formatWide = "wide"
	formatName = "name"
	formatJSON = "json"
	formatYAML = "yaml"
)

// addFormat adds -o with these values.
func addFormat(cmd *cobra.Command, allowed ...string) *format {
	f := &format{allowed: allowed}
	cmd.Flags().VarP(f, "output", "o", "output: "+strings.Join(allowed, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
	return f
}

// String, Set and Type implement pflag.Value.
func (f *format) String() string { return f.value }

// Set accepts one of the allowed values.
func (f *format) Set(v string) error {
	if !slices.Contains(f.allowed, v) {
		return fmt.Errorf("must be one of %s", strings.Join(f.allowed, ", "))
	}
	f.value = v
	return nil
}

// Type names the value in the help.
func (f *format) Type() string { return "format" }

// structured reports whether objects are to be printed whole.
func (f *format) structured() bool { return f.value == formatJSON || f.value == formatYAML }

// print writes a value whole. API objects from a typed client lack their kind; it is filled in.
func (f *format) print(w io.Writer, v any) error {
	if obj, ok := v.(runtime.Object); ok {
		v = presentable(obj)
	}
	data, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return err
	}
	if f.value == formatYAML {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
	} else {
		data = append(data, '\n')
	}
	_, err = w.Write(data)
	return err
}

// presentable answers a copy with its kind and without managed fields, in which nobody wants to read.
func presentable(obj runtime.Object) runtime.Object {
	obj = obj.DeepCopyObject()
	setKind(obj)
	if meta.IsListType(obj) {
		_ = meta.EachListItem(obj, func(item runtime.Object) error {
			setKind(item)
			dropManagedFields(item)
			return nil
		})
		return obj
	}
	dropManagedFields(obj)
	return obj
}

func setKind(obj runtime.Object) {
	if kinds, _, err := scheme.Scheme.ObjectKinds(obj); err == nil && len(kinds) > 0 {
		obj.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
}

func dropManagedFields(obj runtime.Object) {
	if m, err := meta.Accessor(obj); err == nil {
		m.SetManagedFields(nil)
	}
}
