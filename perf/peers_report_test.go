package main

import (
	"strings"
	"testing"
	"time"
)

func TestPeersReport(t *testing.T) {
	all := []contender{{name: nameKubernetes, pods: 4}, {name: nameSwell, pods: 4}, {name: "Swell, more pods", pods: 8}}
	p := newPeersReport(all)
	ms := func(of ...int) (out []time.Duration) {
		for _, one := range of {
			out = append(out, time.Duration(one)*time.Millisecond)
		}
		return out
	}
	for i := 1; i <= 3; i++ {
		p.columns[0].add(&peerRound{
			answered: ms(10, 20, 30, 40), bound: ms(100, 200, 300, 400), running: ms(1000, 2000, 3000),
			allAnswered: time.Second, allBound: 2 * time.Second, allRunning: 4 * time.Second,
			serverCPU: 80 * time.Millisecond, loadCPU: 4 * time.Millisecond, serverRSS: 3 << 20, proposals: 14, fsyncs: 2, wrong: 1,
		})
		for _, c := range p.columns[1:] {
			n := c.contender.pods
			c.add(&peerRound{
				answered: make([]time.Duration, n), bound: make([]time.Duration, n), running: make([]time.Duration, n),
				allAnswered: 100 * time.Millisecond, allBound: 100 * time.Millisecond, allRunning: time.Duration(i) * 100 * time.Millisecond,
				serverCPU: 2 * time.Millisecond, loadCPU: time.Millisecond, refused: 7,
			})
		}
		p.endRound()
	}
	r := &result{Rounds: 3, Setting: map[string]string{"versions": "etcd: 1"}, Machine: machine{Cores: 2, CPU: "x", Memory: "1 GiB", Kernel: "6"}}
	var out strings.Builder
	p.print(&out, r)
	want := `
3 rounds, in turn, on 2 × x, 1 GiB, Linux 6
etcd: 1
Medians of the rounds (least … most).
`
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("%s\nwant first %s", out.String(), want)
	}
	for _, line := range []string{
		"pods in a round | 4 | 4 | 8",
		"pods/s to 201 | 4.00 (4.00 … 4.00) | 40.0 (40.0 … 40.0) | 80.0 (80.0 … 80.0)",
		"pods/s bound to a node | 2.00 (2.00 … 2.00) | 40.0 (40.0 … 40.0) | 80.0 (80.0 … 80.0)",
		"pods/s to Running | 0.75 (0.75 … 0.75) | 20.0 (13.3 … 40.0) | 40.0 (26.7 … 80.0)",
		"servers, CPU µs per pod | 20000 (20000 … 20000) | 500 (500 … 500) | 250 (250 … 250)",
		"cores used, of servers and load | 0.02 (0.02 … 0.02) | 0.02 (0.01 … 0.03) | 0.02 (0.01 … 0.03)",
		"etcd's transactions per pod | 3.50 (3.50 … 3.50) | 0 (0 … 0) | 0 (0 … 0)",
		"etcd's fsyncs per pod | 0.50 (0.50 … 0.50) | 0 (0 … 0) | 0 (0 … 0)",
		"lost or placed twice | 1.00 (1.00 … 1.00) | 0 (0 … 0) | 0 (0 … 0)",
		"POST → 201, p50 ms | 20.0 (20.0 … 20.0) | 0 (0 … 0) | 0 (0 … 0)",
		"POST → a watch says Running, p99 ms | 3000 (3000 … 3000) | 0 (0 … 0) | 0 (0 … 0)",
		"Swell : Kubernetes, pods/s to Running | 53.3, 26.7, 17.8 | median 26.7",
		"servers and load, CPU µs per pod | 21000 (21000 … 21000) | 750 (750 … 750) | 375 (375 … 375)",
		"Kubernetes : Swell, servers and load, CPU µs per pod | 28.0, 28.0, 28.0 | median 28.0",
		"Kubernetes : Swell, servers, CPU µs per pod | 40.0, 40.0, 40.0 | median 40.0",
	} {
		if !hasLine(out.String(), strings.Split(line, " | ")) {
			t.Errorf("no line %s in\n%s", line, out.String())
		}
	}
	rates, figures := p.all()
	names := map[string]spread{}
	for _, one := range rates {
		names[one.Name] = one.spread
	}
	if len(names) != 3+3*12 || names["Swell, more pods: pods/s to 201"].Median != 80 || names[ratioRunning] != (spread{Median: 26.67, Min: 17.78, Max: 53.33}) {
		t.Errorf("%+v", names)
	}
	if len(figures) != 9 || figures[0].Name != "Kubernetes: POST → 201" || figures[0].P99.Median != 40 {
		t.Errorf("%+v", figures)
	}
}

// hasLine looks for a line of these cells, however wide they are.
func hasLine(text string, cells []string) bool {
	for line := range strings.Lines(text) {
		fits := true
		for _, c := range cells {
			line = strings.TrimLeft(line, " ")
			if line, fits = strings.CutPrefix(line, c); !fits {
				break
			}
		}
		if fits && strings.TrimSpace(line) == "" {
			return true
		}
	}
	return false
}

func TestContenders(t *testing.T) {
	s := &setting{}
	names := func(c peersConfig) (out []string) {
		for _, one := range s.contenders(c) {
			out = append(out, one.name)
		}
		return out
	}
	if got := strings.Join(names(peersConfig{pods: 1, more: 1, limited: 1}), "; "); got != "Kubernetes; Swell; Kubernetes, default limits; Swell, more pods" {
		t.Error(got)
	}
	if got := strings.Join(names(peersConfig{pods: 1}), "; "); got != "Kubernetes; Swell" {
		t.Error(got)
	}
}
