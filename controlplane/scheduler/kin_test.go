package scheduler

import "testing"

func TestKin(t *testing.T) {
	k := newKins()
	set := func() map[string]string { return map[string]string{"app": "a", "tier": "b", "c": ""} }
	first := k.join("x", set())
	if k.join("x", set()) != first || first.uses != 2 {
		t.Error("equal labels are held twice")
	}
	for _, other := range []map[string]string{{"app": "b", "tier": "a", "c": ""}, {"app": "a", "tier": "b"}, {"app": "a"}, {}, nil} {
		if k.join("x", other) == first {
			t.Errorf("%v are other labels", other)
		}
	}
	if k.join("y", set()) == first {
		t.Error("another namespace's pods are no kin")
	}
	all := len(k.all)
	k.leave(first)
	if k.leave(first); len(k.all) != all-1 {
		t.Error("a kin without pods is kept")
	}
	// Another that hashes alike is held by itself, and leaves the first alone.
	a := k.join("x", set())
	k.all[a.hash] = &kin{namespace: "z", labels: set(), hash: a.hash, uses: 1}
	b := k.join("x", set())
	if k.leave(b); b == a || b.namespace != "x" || k.all[a.hash].namespace != "z" || k.all[a.hash].uses != 1 {
		t.Errorf("%+v", b)
	}
}
