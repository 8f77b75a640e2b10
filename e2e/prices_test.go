package e2e

import (
	"math/big"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// gridPrices bill the smallest of two sizes that holds a pod, for an hour at least; CPU is dearer in eu-1.
const gridPrices = `version: grid
effective: 2020-01-01
currency: CNY
minimumDuration: 1h
bestEffort: 20%
sizeGrid: [{vcpu: 0.25, gib: 0.5}, {vcpu: 1, gib: 2}]
prices:
  general-purpose: {default: {vcpu: 0.4, gib: 0.2}}
  performance: {default: {vcpu: 0.5, gib: 0.25}}
regions:
  eu-1:
    prices: {general-purpose: {default: {vcpu: 0.8}}}
`

// TestPrices: what a pod costs is told before its create, stands on it through a resize, and is what its bill says,
// with the grid, the node's region and the minimum duration.
func TestPrices(t *testing.T) {
	in := priced(t, gridPrices)
	client, err := in.Client()
	if err != nil {
		t.Fatal(err)
	}
	kubectlOf(t, in, "label", "nodes", "--all", corev1.LabelTopologyRegion+"=eu-1")
	manifest := writeFile(t, "web.yaml", webManifest)
	const annotations = `jsonpath={.metadata.annotations.swell\.dev/price-per-hour}, {.metadata.annotations.swell\.dev/billed-size}`
	// A dry run has no node, and so no region.
	mustMatch(t, kubectlOf(t, in, "create", "--dry-run=server", "-o", annotations, "-f", manifest), `^0\.2 CNY, cpu=250m,memory=512Mi$`)
	kubectlOf(t, in, "create", "-f", manifest)
	await(t, client, "default", "web", "ready", ready)
	mustMatch(t, kubectlOf(t, in, "get", "pod", "web", "-o", annotations), `^0\.3 CNY, $`)
	mustMatch(t, kubectlOf(t, in, "get", "pods", "-o", "wide"), `READINESS GATES +PER HOUR\n.* 0\.3 CNY`)
	if out, err := runSwell(t.Context(), in, "ps", "-o", "wide"); err != nil || !strings.Contains(out, "0.3 CNY") {
		t.Errorf("swell ps: %v\n%s", err, out)
	}
	resize := []string{"patch", "pod", "web", "--subresource", "resize", "-p", `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"300m"},"limits":{"cpu":"300m"}}}]}}`}
	mustMatch(t, kubectlOf(t, in, append(resize, "--dry-run=server", "-o", annotations)...), `^1\.2 CNY, cpu=1,memory=2Gi$`)
	kubectlOf(t, in, resize...)
	mustMatch(t, kubectlOf(t, in, "get", "pod", "web", "-o", annotations), `^1\.2 CNY, $`)
	await(t, client, "default", "web", "resized", func(p *corev1.Pod) bool {
		r := p.Status.ContainerStatuses[0].Resources
		return r != nil && r.Limits.Cpu().MilliValue() == 300
	})
	kubectlOf(t, in, "delete", "pod", "web")

	var bill v1alpha1.Bill
	until(t, "the pod's bill is closed", func() bool {
		all := bills(t, in)
		if len(all) != 1 {
			return false
		}
		bill = all[0]
		return len(bill.Lines) == 3 && bill.Lines[2].Minimum
	})
	small, large := v1alpha1.BilledSize{CPUMilli: 250, MemoryBytes: 512 << 20}, v1alpha1.BilledSize{CPUMilli: 1000, MemoryBytes: 2 << 30}
	sum, rest := new(big.Rat), int64(3_600_000)
	for i, want := range []struct {
		billed  v1alpha1.BilledSize
		perHour int64 // in tenths
	}{{small, 3}, {large, 12}, {small, 3}} {
		l := bill.Lines[i]
		if l.Billed == nil || *l.Billed != want.billed || l.Region != "eu-1" || l.Prices != "grid" {
			t.Errorf("line %d: %+v", i, l)
		}
		ms := l.Milliseconds
		if l.Minimum {
			ms = rest
		}
		rest -= ms
		cost, ok := new(big.Rat).SetString(l.Cost)
		if !ok {
			t.Fatalf("line %d: cost %q", i, l.Cost)
		}
		sum.Add(sum, cost)
		// A quantity is rounded to 1e-9 hours.
		off := new(big.Rat).Sub(cost, big.NewRat(want.perHour*ms, 10*3_600_000))
		if off.Abs(off).Cmp(big.NewRat(1, 1e9)) > 0 {
			t.Errorf("line %d: %d ms cost %s, off by %s", i, ms, l.Cost, off.FloatString(12))
		}
	}
	if total, ok := new(big.Rat).SetString(bill.Total.Cost); !ok || total.Cmp(sum) != 0 || bill.Currency != "CNY" {
		t.Errorf("a total of %s %s, the lines come to %s", bill.Total.Cost, bill.Currency, sum.FloatString(21))
	}
	verifyBills(t, in, 1)
}
