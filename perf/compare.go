package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/internal/etcd"
)

// Where the store keeps pods in etcd, and what precedes each one's protobuf: see the documentation of
// package controlplane/store.
const (
	storedPodsPrefix = "/swell/objects/pods/"
	storedHeader     = 5
)

// storedPods reads the pods of a control plane that has ended from its etcd itself, by their names.
func storedPods(ctx context.Context, dataDir string) (_ map[string]created, err error) {
	server, err := etcd.Start(ctx, etcd.Config{Dir: filepath.Join(dataDir, "etcd")})
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := server.Close(); err == nil {
			err = cerr
		}
	}()
	out := map[string]created{}
	from, end := storedPodsPrefix, clientv3.GetPrefixRangeEnd(storedPodsPrefix)
	for {
		resp, err := server.Client().Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(1000))
		if err != nil {
			return nil, fmt.Errorf("pods in etcd: %w", err)
		}
		for _, kv := range resp.Kvs {
			var p corev1.Pod
			if len(kv.Value) < storedHeader {
				return nil, fmt.Errorf("etcd key %q: %d bytes", kv.Key, len(kv.Value))
			}
			if err := p.Unmarshal(kv.Value[storedHeader:]); err != nil {
				return nil, fmt.Errorf("etcd key %q: %w", kv.Key, err)
			}
			if key := storedPodsPrefix + p.Namespace + "/" + p.Name; key != string(kv.Key) {
				return nil, fmt.Errorf("etcd key %q holds pod %s/%s", kv.Key, p.Namespace, p.Name)
			}
			out[p.Name] = created{uid: string(p.UID), node: p.Spec.NodeName}
		}
		if !resp.More {
			return out, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// findings are pods on which those who created them, etcd and the hosts don't agree.
type findings struct {
	lost      []string // answered, and not in etcd, or as another pod or on another node
	surplus   []string // in etcd, and nobody created it
	twice     []string // on several hosts, or one UID for several pods
	elsewhere []string // on another host than etcd says
	idle      []string // in etcd, and on no host
	stray     []string // on a host, and not in etcd
}

// wrong counts all of them.
func (f findings) wrong() int {
	return len(f.lost) + len(f.surplus) + len(f.twice) + len(f.elsewhere) + len(f.idle) + len(f.stray)
}

// String names some of each.
func (f findings) String() string {
	var out []string
	for _, one := range []struct {
		what string
		pods []string
	}{
		{"answered and lost", f.lost}, {"in etcd without a create", f.surplus}, {"on several hosts", f.twice},
		{"on another host than etcd says", f.elsewhere}, {"on no host", f.idle}, {"on a host and not in etcd", f.stray},
	} {
		if n := len(one.pods); n > 0 {
			out = append(out, fmt.Sprintf("%d %s: %s", n, one.what, strings.Join(one.pods[:min(n, 5)], " ")))
		}
	}
	return strings.Join(out, "; ")
}

// judge compares pods as they were answered (by name; what is empty is not known: of a pod whose
// answer was lost both, of one that was answered while no node was ready the node), etcd, and the hosts that run each UID.
func judge(answered map[string]created, stored map[string]created, running map[string][]string) findings {
	var f findings
	for name, as := range answered {
		switch p, ok := stored[name]; {
		case !ok:
			f.lost = append(f.lost, name)
		case as.uid != "" && p.uid != as.uid, as.node != "" && p.node != as.node:
			f.lost = append(f.lost, fmt.Sprintf("%s (answered as %v, is %v)", name, as, p))
		}
	}
	named := map[string]bool{}
	for name, p := range stored {
		if _, ok := answered[name]; !ok {
			f.surplus = append(f.surplus, name)
		}
		on := running[p.uid]
		switch {
		case named[p.uid], len(on) > 1:
			f.twice = append(f.twice, name)
		case len(on) == 0:
			f.idle = append(f.idle, name)
		case on[0] != p.node:
			f.elsewhere = append(f.elsewhere, name)
		}
		named[p.uid] = true
	}
	for uid := range running {
		if !named[uid] {
			f.stray = append(f.stray, uid)
		}
	}
	for _, pods := range [][]string{f.lost, f.surplus, f.twice, f.elsewhere, f.idle, f.stray} {
		slices.Sort(pods)
	}
	return f
}

// check ends the control plane and compares what is in its etcd, and what the hosts run, with what was
// answered. It also answers how many pods each host has.
func (t *trial) check(ctx context.Context, answered map[string]created) (findings, []int, error) {
	if err := t.end(); err != nil {
		return findings{}, nil, err
	}
	stored, err := storedPods(ctx, t.data())
	if err != nil {
		return findings{}, nil, err
	}
	perNode := make([]int, 0, len(t.fleet.nodes))
	count := map[string]int{}
	for _, p := range stored {
		count[p.node]++
	}
	for _, n := range t.fleet.nodes {
		perNode = append(perNode, count[n.name])
	}
	slices.Sort(perNode)
	return judge(answered, stored, t.fleet.running()), perNode, nil
}

// answeredAs is the argument of check for pods by their numbers.
func answeredAs(made []created) map[string]created {
	out := make(map[string]created, len(made))
	for i, m := range made {
		out[podName(i)] = m
	}
	return out
}
