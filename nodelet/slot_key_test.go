package nodelet

import (
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A container that is held serves another pod only if nothing differs that can't be changed any more: every
// field counts, whoever adds one, but for those that are made to fit.
func TestHeldKeyTellsContainersApart(t *testing.T) {
	b := &builder{a: Assignment{Pod: &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "first"}}}}}}
	key := func(c Container) string {
		t.Helper()
		key, err := b.heldKey(c, actRun{Container: &corev1.Container{}})
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	fits := []string{"PodName", "Hostname", "Command", "Args", "Env", "LogPath", "Held", "Unified"}
	of := func(c any, check func(name string, field reflect.Value)) {
		v := reflect.ValueOf(c).Elem()
		for i := range v.NumField() {
			check(v.Type().Field(i).Name, v.Field(i))
		}
	}
	base := Container{Mounts: []Mount{{Source: "a"}}}
	plain := key(base)
	expect := func(name string, c *Container) {
		t.Helper()
		if same := key(*c) == plain; same != slices.Contains(fits, name) {
			t.Errorf("%s differs: the same key: %t", name, same)
		}
	}
	c := base
	of(&c, func(name string, field reflect.Value) {
		was := reflect.New(field.Type()).Elem()
		was.Set(field)
		switch field.Interface().(type) {
		case Image, corev1.ResourceRequirements, []Mount:
			return // below
		case *corev1.SecurityContext:
			field.Set(reflect.ValueOf(&corev1.SecurityContext{}))
			expect("an empty "+name, &c)
			field.Set(reflect.ValueOf(&corev1.SecurityContext{ReadOnlyRootFilesystem: new(bool)}))
		default:
			another(t, field)
		}
		expect(name, &c)
		field.Set(was)
	})
	of(&c.Image, func(name string, field reflect.Value) {
		another(t, field)
		expect("Image."+name, &c)
		field.SetZero()
	})
	of(&c.Mounts[0], func(name string, field reflect.Value) {
		was := reflect.New(field.Type()).Elem()
		was.Set(field)
		another(t, field)
		expect("Mount."+name, &c)
		field.Set(was)
	})
	c = base
	c.Mounts = append(slices.Clone(base.Mounts), Mount{})
	expect("another mount", &c)

	limited := base
	limited.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	if key(limited) != plain {
		t.Error("limits are written when the slot is taken, so they don't count")
	}
	base.Name, limited.Name = "first", "first"
	if key(limited) == key(base) {
		t.Error("limits of an init container count: its pod's are others")
	}
}

// another gives a field a value that it doesn't have.
func another(t *testing.T, field reflect.Value) {
	t.Helper()
	switch field.Interface().(type) {
	case string:
		field.SetString("another")
	case int, int32, int64:
		field.SetInt(7)
	case bool:
		field.SetBool(true)
	case []string:
		field.Set(reflect.ValueOf([]string{"another"}))
	case []int64:
		field.Set(reflect.ValueOf([]int64{7}))
	case map[string]string:
		field.Set(reflect.ValueOf(map[string]string{"another": "1"}))
	default:
		t.Fatalf("a field of %s", field.Type())
	}
}
