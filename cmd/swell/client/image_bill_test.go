package client

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

// nodesWithImages is two nodes that are ready and one that isn't.
func nodesWithImages(t *testing.T) *fakeAPI {
	f := newFakeAPI(t)
	for name, ready := range map[string]corev1.ConditionStatus{"n1": corev1.ConditionTrue, "n2": corev1.ConditionTrue, "n3": corev1.ConditionFalse} {
		f.set("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}})
	}
	f.group("POST /nodes/{node}/images", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/x-tar" {
			t.Errorf("content type %q", r.Header.Get("Content-Type"))
		}
		if r.PathValue("node") == "n3" {
			refuse(w, missing("nodes", "n3"))
			return
		}
		answer(w, 200, v1alpha1.NodeImageList{Images: []v1alpha1.NodeImage{{Ref: "docker.io/library/app:1"}}})
	})
	f.group("GET /nodes/{node}/images", func(w http.ResponseWriter, r *http.Request) {
		images := []v1alpha1.NodeImage{{Ref: "docker.io/library/app:1", ID: "sha256:0123456789abcdef", Digest: "sha256:fedcba", Size: 12_345_678}}
		if r.PathValue("node") == "n2" {
			images = []v1alpha1.NodeImage{}
		}
		answer(w, 200, images)
	})
	return f
}

func TestImageImport(t *testing.T) {
	f := nodesWithImages(t)
	data := bytes.Repeat([]byte("tar"), 100_000)
	path := filepath.Join(t.TempDir(), "app.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	both := "docker.io/library/app:1 imported on n1\ndocker.io/library/app:1 imported on n2\n"
	if r := f.mustRun("image", "import", path); r.stdout != both {
		t.Errorf("printed %q", r.stdout)
	}
	for _, node := range []string{"n1", "n2"} {
		if got := f.body("POST /apis/swell.dev/v1alpha1/nodes/" + node + "/images"); !bytes.Equal(got, data) {
			t.Errorf("%s got %d bytes of %d", node, len(got), len(data))
		}
	}
	piped := append(data, 'x')
	if r := f.runWith(bytes.NewReader(piped), "image", "import", "-"); r.err != nil || r.stdout != both {
		t.Errorf("from standard input: %+v", r)
	}
	if got := f.body("POST /apis/swell.dev/v1alpha1/nodes/n2/images"); !bytes.Equal(got, piped) {
		t.Errorf("from standard input: %d bytes of %d", len(got), len(piped))
	}
	if r := f.mustRun("image", "import", path, "--node", "n2"); r.stdout != "docker.io/library/app:1 imported on n2\n" {
		t.Errorf("printed %q", r.stdout)
	}
	f.run("image", "import", path, "--node", "n3").wantError(t, `node n3: nodes "n3" not found`)
	f.run("image", "import", path+"x").wantError(t, "no such file")
	f.run("image", "import", t.TempDir()).wantError(t, "is a directory")
}

func TestImageList(t *testing.T) {
	f := nodesWithImages(t)
	golden(t, "images.golden", f.mustRun("image", "ls").stdout)
	golden(t, "images-wide.golden", f.mustRun("image", "ls", "--node", "n1", "-o", "wide").stdout)
	if r := f.mustRun("image", "ls", "-o", "name"); r.stdout != "docker.io/library/app:1\n" {
		t.Errorf("printed %q", r.stdout)
	}
	none := newFakeAPI(t)
	none.run("image", "ls").wantError(t, "no node is ready")
}

func someBills() []v1alpha1.Bill {
	start := testNow.Add(-time.Hour)
	line := func(generation, cpu, memory int64, from time.Duration, total v1alpha1.BillTotal) v1alpha1.BillLine {
		return v1alpha1.BillLine{Generation: generation, ComputeClass: v1alpha1.ClassGeneralPurpose, QoS: v1alpha1.QoSDefault,
			CPUMilli: cpu, MemoryBytes: memory, Start: metav1.NewTime(start.Add(from)), BillTotal: total}
	}
	web := v1alpha1.Bill{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Currency: "CNY",
		Lines: []v1alpha1.BillLine{
			line(1, 250, 512<<20, 0, v1alpha1.BillTotal{Milliseconds: 10_500, VCPUMilliseconds: 2_625, GiBMilliseconds: 5_250, Cost: "0.000087500000000000001"}),
			line(2, 2000, 1<<30, 10500*time.Millisecond, v1alpha1.BillTotal{Milliseconds: 3_600_000_001, VCPUMilliseconds: 7_200_000_002, GiBMilliseconds: 3_600_000_001, Cost: "150.000000025"}),
		},
		Total: v1alpha1.BillTotal{Milliseconds: 3_600_010_501, VCPUMilliseconds: 7_200_002_627, GiBMilliseconds: 3_600_005_251, Cost: "150.000087525000000000001"}}
	cheap := v1alpha1.Bill{ObjectMeta: metav1.ObjectMeta{Name: "batch", Namespace: "team"}, Currency: "CNY",
		Lines: []v1alpha1.BillLine{line(1, 250, 512<<20, 0, v1alpha1.BillTotal{Milliseconds: 1, VCPUMilliseconds: 0, GiBMilliseconds: 1, Cost: "0.0000000016"})}}
	cheap.Lines[0].QoS = v1alpha1.QoSBestEffort
	cheap.Total = cheap.Lines[0].BillTotal
	train := v1alpha1.Bill{ObjectMeta: metav1.ObjectMeta{Name: "train", Namespace: "team"}, Currency: "CNY", Lines: []v1alpha1.BillLine{
		line(1, 500, 3<<30, 0, v1alpha1.BillTotal{Milliseconds: 20_000, VCPUMilliseconds: 20_000, GiBMilliseconds: 80_000, GPUMilliseconds: 10_000, StorageGiBMilliseconds: 200_000, Cost: "0.0841"}),
		line(1, 500, 3<<30, 20*time.Second, v1alpha1.BillTotal{VCPUMilliseconds: 40_000, GiBMilliseconds: 160_000, GPUMilliseconds: 20_000, StorageGiBMilliseconds: 400_000, Cost: "0.1682"}),
	}, Total: v1alpha1.BillTotal{Milliseconds: 20_000, VCPUMilliseconds: 60_000, GiBMilliseconds: 240_000, GPUMilliseconds: 30_000, StorageGiBMilliseconds: 600_000, Cost: "0.2523"}}
	train.Lines[1].Minimum = true
	for i := range train.Lines {
		l := &train.Lines[i]
		l.ComputeClass, l.Billed = v1alpha1.ClassGPU, &v1alpha1.BilledSize{CPUMilli: 1000, MemoryBytes: 4 << 30}
		l.GPU = &v1alpha1.BilledGPU{Model: "H100", Milli: 500, MemoryMiB: 40 << 10}
	}
	return []v1alpha1.Bill{web, cheap, train}
}

func TestBill(t *testing.T) {
	f := newFakeAPI(t)
	all := someBills()
	f.group("GET /bills", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, v1alpha1.BillList{Items: all}) })
	f.group("GET /namespaces/default/bills", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, v1alpha1.BillList{Items: all[:1]}) })
	f.group("GET /namespaces/empty/bills", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, v1alpha1.BillList{}) })
	golden(t, "bill.golden", f.mustRun("bill", "web").stdout)
	golden(t, "bill-all.golden", f.mustRun("bill", "-A").stdout)
	golden(t, "bill-yaml.golden", f.mustRun("bill", "-o", "yaml").stdout)
	if r := f.mustRun("bill", "-n", "empty"); !strings.HasPrefix(r.stderr, "no bills") || r.stdout != "" {
		t.Errorf("without bills: %+v", r)
	}
	f.run("bill", "absent").wantError(t, `bills.swell.dev "absent" not found`)
}
