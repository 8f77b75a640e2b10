package admission

import (
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew")

// TestEveryField sets each field of a pod's spec alone, at any depth, and holds that it is either honoured
// or refused by its own path. testdata/fields.txt is what came of it: a field that a later Kubernetes
// brings shows up there, refused, until somebody decides about it.
func TestEveryField(t *testing.T) {
	verdicts := map[string]bool{}
	walkFields(reflect.TypeFor[corev1.PodSpec](), nil, func(f fieldPath, value reflect.Value) {
		spec := &corev1.PodSpec{}
		f.set(reflect.ValueOf(spec).Elem(), value)
		errs := append(refuse(spec), refuseValues(spec)...)
		if len(errs) == 0 {
			if !honoured.leaves[f.String()] && !honoured.interior[f.String()] && !emptyIsAbsent[f.String()] {
				t.Errorf("%s is ignored", f)
			}
			if honoured.leaves[f.String()] {
				verdicts["honoured "+f.String()+said(value)] = true
			}
			return
		}
		for _, e := range errs {
			at := strings.NewReplacer("[0]", "/*", ".", "/").Replace(strings.TrimPrefix(e.Field, "spec."))
			// By itself, by what leads to it, or (an empty struct) by what it lacks.
			if full := f.String(); at != full && !strings.HasPrefix(full, at+"/") && !strings.HasPrefix(at, full+"/") {
				t.Errorf("%s is refused as %s", full, e.Field)
			}
			suffix := ""
			if honoured.leaves[at] {
				suffix = said(value) // some values of it only
			}
			verdicts["refused  "+at+suffix] = true
		}
	})
	got := strings.Join(slices.Sorted(maps.Keys(verdicts)), "\n") + "\n"
	const golden = "testdata/fields.txt"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{}
	for line := range strings.Lines(string(want)) {
		wanted[strings.TrimSuffix(line, "\n")] = true
	}
	for v := range verdicts {
		if !wanted[v] {
			t.Errorf("new: %s", v)
		}
	}
	for w := range wanted {
		if !verdicts[w] {
			t.Errorf("gone: %s", w)
		}
	}
	if len(wanted) < 150 {
		t.Errorf("%d verdicts: the walk has lost its way", len(wanted))
	}
}

// TestHonouredHasNoFields holds that what is honoured as a whole has no fields that could grow, and that
// there is such a field.
func TestHonouredHasNoFields(t *testing.T) {
	known := map[string]reflect.Type{}
	walkFields(reflect.TypeFor[corev1.PodSpec](), nil, func(f fieldPath, _ reflect.Value) { known[f.String()] = f[len(f)-1].kind })
	for leaf := range honoured.leaves {
		kind, ok := known[leaf]
		if !ok {
			t.Errorf("%s: a pod's spec has no such field", leaf)
			continue
		}
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice || kind.Kind() == reflect.Map {
			if kind.Kind() == reflect.Map && kind.Elem() == reflect.TypeFor[resource.Quantity]() {
				break
			}
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Struct && !isValue(kind) {
			t.Errorf("%s: is a %s: name its fields", leaf, kind)
		}
	}
}

func said(v reflect.Value) string {
	if v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Bool {
		return map[bool]string{true: " (true)", false: " (false)"}[v.Elem().Bool()]
	}
	return ""
}

// fieldPath leads to a field through structs, pointers and lists' elements.
type fieldPath []step

type step struct {
	name  string // "*" for a list's element
	index []int  // of the field in its struct
	kind  reflect.Type
}

func (f fieldPath) String() string {
	names := make([]string, len(f))
	for i, s := range f {
		names[i] = s.name
	}
	return strings.Join(names, "/")
}

// set makes what the path needs and puts value at its end.
func (f fieldPath) set(v, value reflect.Value) {
	for _, s := range f {
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		if s.name == "*" {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			v = v.Index(0)
		} else {
			v = v.FieldByIndex(s.index)
		}
	}
	v.Set(value)
}

// walkFields calls visit for every field below a struct with each value worth trying: something, and of
// what is optional also the empty thing and false.
func walkFields(t reflect.Type, path fieldPath, visit func(fieldPath, reflect.Value)) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && f.Anonymous {
			for _, inner := range reflect.VisibleFields(f.Type) {
				if n, _, _ := strings.Cut(inner.Tag.Get("json"), ","); n != "" {
					walkValue(append(slices.Clip(path), step{n, append([]int{i}, inner.Index...), inner.Type}), visit)
				}
			}
			continue
		}
		walkValue(append(slices.Clip(path), step{name, []int{i}, f.Type}), visit)
	}
}

func walkValue(path fieldPath, visit func(fieldPath, reflect.Value)) {
	t := path[len(path)-1].kind
	inner := t
	if t.Kind() == reflect.Pointer {
		inner = t.Elem()
		visit(path, reflect.New(inner)) // {} or false or 0
	}
	switch {
	case inner.Kind() == reflect.Struct && !isValue(inner):
		walkFields(inner, path, visit)
	case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
		walkValue(append(slices.Clip(path), step{"*", nil, inner.Elem()}), visit)
	default:
		visit(path, something(t))
	}
}

// isValue reports structs that stand for one value.
func isValue(t reflect.Type) bool {
	return t == reflect.TypeFor[resource.Quantity]() || t == reflect.TypeFor[intstr.IntOrString]() || t == reflect.TypeFor[metav1.Time]()
}

func something(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(something(t.Elem()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.Append(v, something(t.Elem())))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(something(t.Key()), something(t.Elem()))
	case reflect.Struct:
		switch t {
		case reflect.TypeFor[resource.Quantity]():
			v.Set(reflect.ValueOf(resource.MustParse("1")))
		case reflect.TypeFor[intstr.IntOrString]():
			v.Set(reflect.ValueOf(intstr.FromInt32(1)))
		case reflect.TypeFor[metav1.Time]():
			v.Set(reflect.ValueOf(metav1.Unix(1, 0)))
		default:
			for i := range t.NumField() {
				v.Field(i).Set(something(t.Field(i).Type))
			}
		}
	default:
		panic("a field of kind " + t.Kind().String())
	}
	return v
}
