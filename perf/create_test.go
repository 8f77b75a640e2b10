package main

import (
	"testing"
)

// TestCreate runs the whole way once, small: the built binary, hosts, load, watch, and the check against etcd.
func TestCreate(t *testing.T) {
	s := &setting{bin: binaries(t), rounds: 1}
	for name, c := range map[string]createConfig{
		"closed, protobuf over HTTP/1.1": {nodes: 3, pods: 50, clients: 4, encoding: "protobuf", protocol: protocolH1, watcher: watcherRaw},
		"open, JSON over HTTP/2":         {nodes: 3, pods: 50, clients: 50, connections: 2, rate: 200, encoding: "json", protocol: protocolH2, watcher: watcherClientGo},
	} {
		t.Run(name, func(t *testing.T) {
			media := map[string]string{"protobuf": mediaProtobuf, "json": mediaJSON}[c.encoding]
			r, err := s.createRound(t.Context(), c, media)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.answered) != c.pods || len(r.running) != c.pods || r.unseen != 0 || r.found.wrong() != 0 {
				t.Errorf("%d answered, %d Running, %d not seen, %v", len(r.answered), len(r.running), r.unseen, r.found)
			}
			if r.transactions < 1 || r.mutations < float64(c.pods) || r.mutations < r.transactions {
				t.Errorf("%v changes in %v transactions", r.mutations, r.transactions)
			}
			sum := 0
			for _, n := range r.perNode {
				sum += n
			}
			if len(r.perNode) != c.nodes || sum != c.pods {
				t.Errorf("pods on hosts: %v", r.perNode)
			}
		})
	}
}
