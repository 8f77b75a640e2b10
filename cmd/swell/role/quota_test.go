package role

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// burst creates as many pods at once as it is told, and answers how many were. Others have to be refused by the quota.
func (y *slotSystem) burst(prefix string, pods int) int {
	y.t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", y.control.kubeconfig())
	if err != nil {
		y.t.Fatal(err)
	}
	cfg.QPS, cfg.ContentType = -1, runtime.ContentTypeProtobuf // as known specs come
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		y.t.Fatal(err)
	}
	var wg sync.WaitGroup
	var created atomic.Int64
	for i := range pods {
		wg.Go(func() {
			pod := slotPodOf("default", fmt.Sprint(prefix, i))
			pod.Spec.Containers[0].Env = nil
			switch _, err := client.CoreV1().Pods("default").Create(y.t.Context(), pod, metav1.CreateOptions{}); {
			case err == nil:
				created.Add(1)
			case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: compute, requested: "):
				y.t.Errorf("%s: %v", pod.Name, err)
			}
		})
	}
	wg.Wait()
	return int(created.Load())
}

// TestQuotaEndToEnd: whatever comes at once, and whenever the control plane starts anew, a namespace has no more than
// its quota says.
func TestQuotaEndToEnd(t *testing.T) {
	y := startSlotSystem(t)
	ctx := t.Context()
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "compute"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{"requests.cpu": resource.MustParse("1"), "limits.memory": resource.MustParse("640Mi"), "pods": resource.MustParse("20")},
	}}
	if _, err := y.client.CoreV1().ResourceQuotas("default").Create(ctx, quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	used := func() string {
		q, err := y.client.CoreV1().ResourceQuotas("default").Get(ctx, "compute", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %s %s", q.Status.Used.Name("requests.cpu", resource.DecimalSI), q.Status.Used.Name("limits.memory", resource.BinarySI), q.Status.Used.Pods())
	}
	running := func(name string) {
		t.Helper()
		y.until(name+" runs", func() bool {
			p, err := y.client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
			return err == nil && p.Status.Phase == corev1.PodRunning
		})
	}
	resize := func(name, cpu string) error {
		patch := fmt.Sprintf(`{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":%q},"limits":{"cpu":%q}}}]}}`, cpu, cpu)
		_, err := y.client.CoreV1().Pods("default").Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "resize")
		return err
	}
	if n := y.burst("a", 64); n != 10 {
		t.Errorf("%d of 64 pods at once, want 10", n)
	}
	y.until("the status", func() bool { return used() == "1 640Mi 10" })

	pods, err := y.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) != 10 {
		t.Fatalf("%d pods, %v", len(pods.Items), err)
	}
	one, other := pods.Items[0].Name, pods.Items[1].Name
	running(one)
	running(other)
	if err := resize(one, "101m"); !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), "is forbidden: exceeded quota: compute, requested: requests.cpu=1m, used: requests.cpu=1, limited: requests.cpu=1") {
		t.Errorf("a resize beyond the quota: %v", err)
	}
	if err := resize(other, "40m"); err != nil {
		t.Error(err)
	}
	y.until("what a shrink leaves can be had", func() bool { return resize(one, "160m") == nil })
	y.until("the status", func() bool { return used() == "1 640Mi 10" })

	y.stopControl()
	y.startControl()
	if n := y.burst("b", 64); n != 0 {
		t.Errorf("%d pods beyond the quota after a restart", n)
	}
	if got := used(); got != "1 640Mi 10" {
		t.Errorf("used %s after a restart", got)
	}
	running(one)
	if err := y.client.CoreV1().Pods("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	y.until("nothing is used", func() bool { return used() == "0 0 0" })
	if n := y.burst("c", 64); n != 10 {
		t.Errorf("%d of 64 pods at once, want 10", n)
	}
}

// TestLimitRangeEndToEnd: pods and slots have the sizes that a limit range gives, and fit one another.
func TestLimitRangeEndToEnd(t *testing.T) {
	y := startSlotSystem(t)
	lr := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "sizes"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
		Type: corev1.LimitTypeContainer, Default: corev1.ResourceList{"cpu": resource.MustParse("70m"), "memory": resource.MustParse("48Mi")},
		Max: corev1.ResourceList{"cpu": resource.MustParse("1")},
	}}}}
	if _, err := y.client.CoreV1().LimitRanges("default").Create(t.Context(), lr, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	y.policy("POST", `{"min":1,"max":1,"template":{"spec":{"containers":[{"name":"c","image":"example.com/cart:v1"}]}}}`)
	y.until("a slot", func() bool { return len(y.slots()) == 1 })
	slot := y.slots()[0]
	pod := slotPodOf("default", "cart-1")
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
	pod, err := y.client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r := pod.Spec.Containers[0].Resources; string(pod.UID) != slot || r.Requests.Cpu().String() != "70m" || r.Limits.Memory().String() != "48Mi" {
		t.Errorf("pod %s of %v, the slot is %s", pod.UID, r, slot)
	}
	big := slotPodOf("default", "big")
	for _, list := range []corev1.ResourceList{big.Spec.Containers[0].Resources.Requests, big.Spec.Containers[0].Resources.Limits} {
		list[corev1.ResourceCPU] = resource.MustParse("2")
	}
	if _, err := y.client.CoreV1().Pods("default").Create(t.Context(), big, metav1.CreateOptions{}); !apierrors.IsForbidden(err) || err.Error() != `pods "big" is forbidden: maximum cpu usage per Container is 1, but limit is 2` {
		t.Errorf("%v", err)
	}
}
