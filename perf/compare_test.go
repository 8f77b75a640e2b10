package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/internal/etcd"
)

// TestJudge plants one fault of each kind among pods that are well.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(answered map[string]created, stored map[string]created, running map[string][]string)
		want  findings
	}{
		{"all is well", func(map[string]created, map[string]created, map[string][]string) {}, findings{}},
		{"a lost pod", func(_ map[string]created, stored map[string]created, running map[string][]string) {
			delete(stored, "p3")
			delete(running, "u3")
		}, findings{lost: []string{"p3"}}},
		{"a lost pod that runs", func(_ map[string]created, stored map[string]created, _ map[string][]string) {
			delete(stored, "p3")
		}, findings{lost: []string{"p3"}, stray: []string{"u3"}}},
		{"another pod of that name", func(_ map[string]created, stored map[string]created, running map[string][]string) {
			stored["p3"] = created{"other", "n0"}
			running["other"] = []string{"n0"}
			delete(running, "u3")
		}, findings{lost: []string{"p3 (answered as {u3 n0}, is {other n0})"}}},
		{"a pod on two hosts", func(_ map[string]created, _ map[string]created, running map[string][]string) {
			running["u3"] = append(running["u3"], "n9")
		}, findings{twice: []string{"p3"}}},
		{"one UID for two pods", func(answered map[string]created, stored map[string]created, _ map[string][]string) {
			answered["q"], stored["q"] = created{}, stored["p3"]
			delete(answered, "p3")
			delete(stored, "p3")
			answered["r"], stored["r"] = created{}, stored["q"]
		}, findings{twice: []string{"?"}}}, // which of the two comes second isn't told
		{"a pod on another host than was answered", func(answered map[string]created, _ map[string]created, _ map[string][]string) {
			answered["p3"] = created{"u3", "n9"}
		}, findings{lost: []string{"p3 (answered as {u3 n9}, is {u3 n0})"}}},
		{"a pod on another host", func(_ map[string]created, _ map[string]created, running map[string][]string) {
			running["u3"] = []string{"n9"}
		}, findings{elsewhere: []string{"p3"}}},
		{"a pod that doesn't run", func(_ map[string]created, _ map[string]created, running map[string][]string) {
			delete(running, "u3")
		}, findings{idle: []string{"p3"}}},
		{"a pod that nobody created", func(_ map[string]created, stored map[string]created, running map[string][]string) {
			stored["x"], running["ux"] = created{"ux", "n1"}, []string{"n1"}
		}, findings{surplus: []string{"x"}}},
		{"names only", func(answered map[string]created, stored map[string]created, _ map[string][]string) {
			for name := range answered {
				answered[name] = created{}
			}
		}, findings{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answered, stored, running := map[string]created{}, map[string]created{}, map[string][]string{}
			for i := range 10 {
				name, uid, node := fmt.Sprintf("p%d", i), fmt.Sprintf("u%d", i), fmt.Sprintf("n%d", i%3)
				answered[name], stored[name], running[uid] = created{uid, node}, created{uid, node}, []string{node}
			}
			c.plant(answered, stored, running)
			got := judge(answered, stored, running)
			if len(c.want.twice) == 1 && c.want.twice[0] == "?" && len(got.twice) == 1 {
				c.want.twice = got.twice
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if (got.wrong() == 0) != (got.String() == "") {
				t.Errorf("%d wrong: %q", got.wrong(), got)
			}
		})
	}
}

// TestStoredPods reads what a store would have written, more than one page of it.
func TestStoredPods(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etcd"), 0o700); err != nil {
		t.Fatal(err)
	}
	const n = 1003
	write := func(key string, p *corev1.Pod) {
		t.Helper()
		server, err := etcd.Start(t.Context(), etcd.Config{Dir: filepath.Join(dir, "etcd")})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if p != nil {
			raw, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := server.Client().Put(t.Context(), key, "S\x01\x00\x00\x00"+string(raw)); err != nil {
				t.Fatal(err)
			}
			return
		}
		for i := range n {
			raw, err := etcdPod(podName(i), fmt.Sprint("u", i), "n1").Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := server.Client().Put(t.Context(), storedPodsPrefix+"default/"+podName(i), "S\x01\x00\x00\x00"+string(raw)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("", nil)
	got, err := storedPods(t.Context(), dir)
	if err != nil || len(got) != n || got[podName(1002)] != (created{"u1002", "n1"}) {
		t.Fatalf("%d pods, the last %v, %v", len(got), got[podName(1002)], err)
	}
	write(storedPodsPrefix+"default/a", etcdPod("b", "u", "n1"))
	if _, err := storedPods(context.Background(), dir); err == nil {
		t.Error("a pod under another's key was taken")
	}
}

func etcdPod(name, uid, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uid)}, Spec: corev1.PodSpec{NodeName: node},
	}
}
